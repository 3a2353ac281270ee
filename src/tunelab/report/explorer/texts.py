"""How much of a text the page carries: all of it, or its two ends with its true length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunelab.report.provenance import SENSITIVE_LIMIT

Text = str | dict[str, Any]
"""A whole text, or ``{head, tail, length}`` of one that was cut, in characters."""


@dataclass(frozen=True)
class Limit:
    """Characters that are kept of a text: from its beginning and from its end, where answers stand."""

    head: int
    tail: int

    def cut(self, text: str) -> Text:
        """Return the text, or its ends where it is longer than both together."""
        if len(text) <= self.head + self.tail:
            return text
        return {"head": text[: self.head], "tail": text[len(text) - self.tail :], "length": len(text)}

    def cut_all(self, texts: Mapping[str, Any]) -> dict[str, Text]:
        """Cut every value as it is shown; those that say nothing are left out."""
        return {name: self.cut(str(value)) for name, value in texts.items() if value not in (None, "")}


WHOLE = Limit(12_000, 4_000)
SENSITIVE = Limit(SENSITIVE_LIMIT, 0)
"""Of texts that nobody should have to read."""
