"""Intervals of one proportion, and the bounds that unscored items leave.

``Interval`` is what every estimate of one variant returns. It carries n, the number of items it was computed
over, because a score without it cannot be read. Shares run from 0 to 1; points are the report's business.

Left out on purpose: the Wald interval, which is zero wide at 0 % and 100 % and covers badly on either side.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import index
from typing import Literal

from scipy.stats import binomtest

from tunelab.stats.arrays import check_share


@dataclass(frozen=True)
class Interval:
    """An estimate with the range around it, in the units of the score."""

    value: float
    low: float
    high: float
    n: int
    """Items the value was computed over: scored ones, never the missing."""
    method: str
    se: float | None = None
    """Standard error where the method has one. 0 means that no spread was observed, not that there is none."""


def wilson(correct: int, n: int, confidence: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson 1927): the default for right/wrong scores of independent items.

    Raises ValueError unless 0 <= correct <= n, n >= 1 and 0 < confidence < 1.
    """
    return _proportion(correct, n, confidence, "wilson")


def clopper_pearson(correct: int, n: int, confidence: float = 0.95) -> Interval:
    """Exact interval of a proportion (Clopper & Pearson 1934): for safety rates.

    Covers at least ``confidence`` at every true rate, at the price of width. With nothing seen in n items it
    still says how large the rate may be. Raises ValueError as ``wilson`` does.
    """
    return _proportion(correct, n, confidence, "exact")


def bounds_with_missing(correct: int, scored: int, missing: int) -> Interval:
    """Worst and best proportion if every ``missing`` item were wrong, or right (Manski 1989).

    ``value`` is the share over the scored items, n their number. These bounds are arithmetic, not sampling
    error: they hold for these items whatever the reason they went unscored. Raises ValueError for negative
    counts, for more correct than scored, and if nothing was scored.
    """
    correct, scored = _counts(correct, scored)
    if missing < 0:
        raise ValueError(f"missing: got {missing}, expected 0 or more")
    total = scored + index(missing)
    return Interval(
        value=correct / scored,
        low=correct / total,
        high=(correct + missing) / total,
        n=scored,
        method="missing_bounds",
    )


def _proportion(correct: int, n: int, confidence: float, method: Literal["wilson", "exact"]) -> Interval:
    correct, n = _counts(correct, n)
    check_share(confidence, "confidence")
    low, high = binomtest(correct, n).proportion_ci(confidence_level=confidence, method=method)
    name = "clopper_pearson" if method == "exact" else method
    return Interval(correct / n, float(low), float(high), n, name)


def _counts(correct: int, n: int) -> tuple[int, int]:
    """The two as plain integers; TypeError for floats, which would be scores rather than counts."""
    if n < 1:
        raise ValueError(f"n: got {n}, expected at least one scored item")
    if not 0 <= correct <= n:
        raise ValueError(f"correct: got {correct}, expected 0 to {n}")
    return index(correct), index(n)
