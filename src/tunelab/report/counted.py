"""Sums of what servers count: a server may leave out how many tokens a reply has.

A sum is then a lower bound and says so, or is not known at all: what nobody counted is never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tunelab.report.wording import show


@dataclass(frozen=True)
class Amount:
    """A sum over replies, of which ``uncounted`` are not in it."""

    value: float
    uncounted: int
    replies: int

    def shown(self, lacking: str = "replies uncounted") -> float | str:
        """Return the number where all of it is known, else what is known."""
        if not self.uncounted:
            return self.value
        if self.uncounted == self.replies:
            return "not known"
        return f"at least {show(self.value)}, {self.uncounted:,} {lacking}"


def tokens(facts: Iterable[Mapping[str, Any]], name: str) -> Amount:
    """Sum ``prompt_tokens`` or ``output_tokens`` over the facts of generate steps."""
    several = list(facts)
    uncounted = sum(it.get("uncounted", {}).get(name, 0) for it in several)
    return Amount(sum(it[name] for it in several), uncounted, sum(it["outputs"] for it in several))
