"""How long texts are in a model's tokens, counted in batches: fast tokenizers share a batch out over the cores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunelab.models.load import load_tokenizer, quiet
from tunelab.models.spec import ModelRef

BATCH = 1024
"""Texts in memory as tokens at a time."""


def token_counts(ref: ModelRef, texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text, without those that a tokenizer puts around it. Raises ModelError."""
    quiet()
    tokenizer: Any = load_tokenizer(ref)
    counts: list[int] = []
    for start in range(0, len(texts), BATCH):
        batch = list(texts[start : start + BATCH])
        found = tokenizer(batch, add_special_tokens=False, return_attention_mask=False, verbose=False)
        counts += [len(ids) for ids in found["input_ids"]]
    return counts
