"""What would act on a screen or hide from a reader is written as its code point; what belongs to a language stays."""

import pytest

from tunelab.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "⟨U+001B⟩[31mred⟨U+001B⟩[0m"),
        ("a\x00b\x07c\rd\x7f\x9b", "a⟨U+0000⟩b⟨U+0007⟩c⟨U+000D⟩d⟨U+007F⟩⟨U+009B⟩"),
        ("\u202eabc\u2066\u200f", "⟨U+202E⟩abc⟨U+2066⟩⟨U+200F⟩"),
        ("zero\u200bwidth\ufeff", "zero⟨U+200B⟩width⟨U+FEFF⟩"),
        ("tag\U000e0041", "tag⟨U+E0041⟩"),
        ("\ud800", "⟨U+D800⟩"),
        ("ig\u200dnore", "ig⟨U+200D⟩nore"),
    ],
)
def test_what_hides_or_acts_is_written_out(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize("text", ["a\tb\nc", "naïve 中文 עברית", "می\u200cخواهم", "👩\u200d🔬", "क्\u200dष"])
def test_what_a_language_needs_stays(text):
    assert visible(text) == text
