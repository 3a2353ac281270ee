"""How long texts are in a model's tokens, counted in batches: fast tokenizers share a batch out over the cores."""

from __future__ import annotations

from collections.abc import Sequence

from tunelab.models.load import load_tokenizer, quiet
from tunelab.models.spec import ModelRef
from tunelab.models.token_counts import TokenCounter

BATCH = 1024
"""Texts in memory as tokens at a time."""


def token_counts(ref: ModelRef, texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text, without those that a tokenizer puts around it. Raises ModelError."""
    quiet()
    counter = TokenCounter(load_tokenizer(ref))
    return [n for start in range(0, len(texts), BATCH) for n in counter.count(texts[start : start + BATCH])]
