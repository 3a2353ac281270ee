"""Keys of rows by what they say, for data sets that do not number their rows.

The key of a row depends on the row alone, so a file in another order has the same samples under the same ids. Rows that
are equal in everything get a number from the second on: which of them has which is all the same.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

DIGITS = 12
"""Hex digits of a key: among 14,042 different rows two share one in fewer than one data set of a million."""


class RowKeys:
    """Gives the rows of one split their keys."""

    def __init__(self) -> None:
        self._seen = Counter[str]()

    def key(self, *said: Any) -> str:
        """Return the key of a row that says this, texts and numbers in lists."""
        key = hashlib.sha256(json.dumps(said, default=repr).encode()).hexdigest()[:DIGITS]
        self._seen[key] += 1
        return key if self._seen[key] == 1 else f"{key}-{self._seen[key]}"
