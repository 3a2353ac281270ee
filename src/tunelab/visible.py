"""Characters that a reader would not see, or that would act on a screen, as marks that can be read.

Texts come from models, data sets and other people's names. A terminal obeys escape sequences, a bidirectional control
turns a line around, a zero-width character hides in a word. Every place that shows such a text passes it through here:
the terminal by ``visible``, pages by the same ``RANGES``.
"""

from __future__ import annotations

import re

RANGES = (
    (0x00, 0x08), (0x0B, 0x1F),  # all controls but tab and newline
    (0x7F, 0x9F), (0xAD, 0xAD),  # delete, C1 controls, the soft hyphen
    (0x61C, 0x61C), (0x180E, 0x180E), (0x200B, 0x200B), (0x200E, 0x200F), (0x2028, 0x202E), (0x2060, 0x206F),
    (0xD800, 0xDFFF),  # surrogates that stand alone
    (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB), (0xE0000, 0xE007F),
)  # fmt: skip
"""First and last code point of what is marked wherever it stands."""
JOINERS = (0x200C, 0x200D)
"""Marked beside ASCII only: between other letters they belong to the spelling, as in Persian, Hindi and emoji."""


def _pattern() -> re.Pattern[str]:
    marked = "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in RANGES)
    joiners = "".join(map(chr, JOINERS))
    return re.compile(rf"[{marked}]|(?<![^\x00-\x7f])[{joiners}]|[{joiners}](?![^\x00-\x7f])")


MARKED = _pattern()


def visible(text: str) -> str:
    """Return ``text`` with every such character written as its code point, ``⟨U+202E⟩``."""
    return MARKED.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)
