"""Rendering for an encoder and a decoder, with tiny-t5's tokenizer and one of T5's own kind (unigrams)."""

import pytest
from transformers import T5Tokenizer

from tunelab.data.sample import Message
from tunelab.errors import FormatError
from tunelab.formats.encoder_decoder import EncoderDecoderRenderer
from tunelab.formats.format import FewShots, Format
from tunelab.models.load import load_renderer, load_tokenizer
from tunelab.models.spec import resolve

ASKED = [Message("user", "Which one ?\nA. x\nB. y")]
PLAIN = Format(template="raw", user_prefix="", assistant_prefix="")


def unigrams():
    """T5's tokenizer over letters and a few words."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDW?.:"
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    return T5Tokenizer(vocab=[*pieces, *((letter, -5.0) for letter in letters), ("▁B", -4.0), ("▁one", -4.0)])


def bytes_of_tiny(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNELAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        return load_tokenizer(resolve("tiny-t5"))


@pytest.fixture(scope="module", params=["unigrams", "bytes"])
def tokenizer(request, tmp_path_factory):
    return unigrams() if request.param == "unigrams" else bytes_of_tiny(tmp_path_factory)


@pytest.mark.parametrize("fmt", [PLAIN, Format(template="raw")], ids=["plain", "raw"])
def test_both_sides_are_what_the_tokenizer_makes_of_their_texts(tokenizer, fmt):
    renderer = EncoderDecoderRenderer(tokenizer, fmt)
    prompt = renderer.prompt(ASKED)
    expected = ASKED[0].content if fmt == PLAIN else f"Question: {ASKED[0].content}\nAnswer:"
    assert prompt.text == expected
    assert prompt.ids == tokenizer(expected)["input_ids"]
    read, written = renderer.sides(ASKED, "B")
    assert read == prompt.ids
    assert written == tokenizer("B")["input_ids"]
    assert read[-1] == written[-1] == tokenizer.eos_token_id


def test_an_example_is_both_sides_and_its_mask_tells_them_apart(tokenizer):
    renderer = EncoderDecoderRenderer(tokenizer, PLAIN)
    example, (read, written) = renderer.example(ASKED, "B"), renderer.sides(ASKED, "B")
    assert example.ids == [*read, *written]
    assert example.mask == [0] * len(read) + [1] * len(written)
    assert renderer.answer_ids(ASKED, "B") == written[:-1]


@pytest.mark.parametrize("answer", ["B", "one", "B. one", "x y"])
def test_an_answer_is_read_back_as_it_was_written(tokenizer, answer):
    renderer = EncoderDecoderRenderer(tokenizer, PLAIN)
    assert renderer.parse(renderer.sides(ASKED, answer)[1]) == answer


def test_worked_examples_and_a_system_prompt_stand_before_the_question(tokenizer):
    fmt = Format(template="raw", system="x", few_shots=FewShots(k=1), user_prefix="", assistant_prefix="")
    renderer = EncoderDecoderRenderer(tokenizer, fmt, [([Message("user", "one ?")], "B")])
    assert renderer.prompt([Message("user", "y ?")]).text == "x\n\none ?\n B\n\ny ?"


def test_a_chat_template_is_refused(tokenizer):
    with pytest.raises(FormatError, match=r"^format chat: got an encoder-decoder model, .*; use template: raw$"):
        EncoderDecoderRenderer(tokenizer, Format(template="chat"))


def test_the_kind_of_the_model_chooses_the_renderer(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNELAB_CACHE", str(tmp_path))
    assert isinstance(load_renderer(resolve("tiny-t5"), PLAIN), EncoderDecoderRenderer)
    assert not isinstance(load_renderer(resolve("tiny"), PLAIN), EncoderDecoderRenderer)
