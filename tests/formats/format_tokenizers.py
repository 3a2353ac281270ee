"""Tokenizers as they occur: the tiny model's under several chat templates, and the real Qwen2 vocabulary."""

from __future__ import annotations

import os
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from tunelab.models.load import load_tokenizer
from tunelab.models.spec import resolve

QWEN2 = Path(os.environ.get("TUNELAB_DATA", "/nowhere")) / ".." / "tokenizers" / "qwen2"
QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
QWEN3 = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if loop.last and m.role == 'assistant' %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{% endif %}"
)
LLAMA2 = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}"
)
CHANNELS = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role }}"
    "{% if m.role == 'assistant' %}{{ '<|channel|>final<|message|>' }}{% else %}{{ '<|message|>' }}{% endif %}"
    "{{ m.content + '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant' }}{% endif %}"
)
COUNTS_TURNS = "{{ messages | length }} turns\n" + CHATML
NO_END = (
    "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
)


def tiny(template=None):
    """The bundled tokenizer, under another template if one is given."""
    tokenizer = load_tokenizer(resolve("tiny"))
    tokenizer.chat_template = template or tokenizer.chat_template
    return tokenizer


def with_channels():
    """Like gpt-oss: the model writes special tokens and a word before its answer."""
    tokenizer = tiny(CHANNELS)
    names = ("<|channel|>", "<|message|>")
    tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    return tokenizer


def with_bos(template=LLAMA3):
    """Like Llama 3: the template writes a beginning-of-text token, and the tokenizer adds one to plain text."""
    tokenizer = tiny(template)
    names = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    tokenizer.bos_token = names[0]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{names[0]} $A", special_tokens=[(names[0], tokenizer.bos_token_id)]
    )
    return tokenizer


def qwen2(template=QWEN3):
    """The real Qwen2 vocabulary and merges."""
    backend = Tokenizer(BPE.from_file(str(QWEN2 / "vocab.json"), str(QWEN2 / "merges.txt")))
    backend.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(QWEN2_WORDS), "isolated")
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    backend.decoder = decoders.ByteLevel()
    names = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    backend.add_tokens([AddedToken(name, special=False, normalized=False) for name in ("<think>", "</think>")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = template
    return tokenizer
