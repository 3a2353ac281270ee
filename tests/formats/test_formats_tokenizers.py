"""Tokenizers as they come: without a padding token, and with white space before the end of a turn."""

import pytest
import torch
from format_tokenizers import LLAMA2, tiny
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from tunelab.data.sample import Message
from tunelab.errors import ModelError
from tunelab.formats.format import Format
from tunelab.formats.renderer import Renderer
from tunelab.models.load import limit_threads, load_tokenizer
from tunelab.models.spec import resolve


def saved(folder, *words, **special):
    """A tokenizer of a few words in a folder."""
    backend = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token=special.get("unk_token")))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return resolve(str(folder))


def test_white_space_before_the_end_of_a_turn_is_learnt_and_the_turn_ends_after_it():
    tokenizer = tiny(LLAMA2)
    renderer = Renderer(tokenizer, Format(template="chat"))
    example = renderer.example([Message("user", "1 + 1?")], "It is 2")
    assert renderer.end_of_turn == (tokenizer.eos_token, tokenizer.eos_token_id)
    assert example.text == f"[INST] 1 + 1? [/INST] It is 2 {tokenizer.eos_token}"
    assert example.ids.count(tokenizer.eos_token_id) == 1


@pytest.mark.parametrize(
    ("words", "special", "padding"),
    [
        (("a", "<|im_end|>", "?"), {"unk_token": "?"}, "<|im_end|>"),
        (("a", "?"), {"unk_token": "?"}, "?"),
        (("a", "end", "<|im_end|>"), {"eos_token": "end"}, "end"),
    ],
)
def test_a_tokenizer_without_padding_pads_with_what_it_has(tmp_path, words, special, padding):
    tokenizer = load_tokenizer(saved(tmp_path, *words, **special))
    assert tokenizer.pad_token == padding
    assert tokenizer.pad_token_id == words.index(padding)


def test_a_tokenizer_that_cannot_pad_is_refused_in_one_line(tmp_path):
    with pytest.raises(ModelError, match="no pad, end or unknown token"):
        load_tokenizer(saved(tmp_path, "a", "b"))


@pytest.fixture
def threads(monkeypatch):
    """Load models in an environment that says nothing of threads; the process gets its own number back."""
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_the_tiny_models_single_thread_is_not_left_to_a_later_model(tmp_path, threads):
    other = saved(tmp_path, "a")
    for number in (2, 3):
        threads(number)
        limit_threads(resolve("tiny"))
        limit_threads(resolve("tiny"))
        assert torch.get_num_threads() == 1
        limit_threads(other)
        assert torch.get_num_threads() == number


def test_a_number_of_threads_that_the_caller_chose_is_kept(tmp_path, threads):
    other = saved(tmp_path, "a")
    threads(3)
    limit_threads(other)
    assert torch.get_num_threads() == 3
    limit_threads(resolve("tiny"))
    threads(2)
    limit_threads(other)
    assert torch.get_num_threads() == 2
