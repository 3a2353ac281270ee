"""How many tokens texts have under a tokenizer, in batches and without keeping the tokens."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TokenCounter:
    """Counts the tokens of texts alone: no special tokens are added, and nothing is cut off or padded."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        self._tokenizer: Any = tokenizer
        self._fast: Any = getattr(tokenizer, "backend_tokenizer", None)
        if self._fast is not None:
            self._fast.no_truncation()
            self._fast.no_padding()

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text.

        A fast tokenizer works without transformers' wrapper, which would copy every id into a Python list.
        """
        if self._fast is not None:
            return [len(found) for found in self._fast.encode_batch_fast(list(texts), add_special_tokens=False)]
        found = self._tokenizer(list(texts), add_special_tokens=False, verbose=False)
        return [len(ids) for ids in found["input_ids"]]
