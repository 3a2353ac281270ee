"""Two variants on the same items: the paired difference, and any linear contrast of cells.

Pairing removes the difficulty of the items, which is most of the variance: two overlapping intervals say
nothing about a difference, this does. Aligning by sample id, and refusing what must not be compared, is the
caller's: here column i is the same item in every array.

The interval is always t's, d +/- t * SD(d) / sqrt(n), clustered where items share a source. The p-value of
right/wrong scores is McNemar's exact one, so near p = alpha the two may disagree; the p-value decides.
Without any spread, interval and p-value are the exact ones that ``means`` explains, and ``test`` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from tunelab.stats.arrays import FloatArray, finite
from tunelab.stats.means import Mean, clustered_mean, mean_bounds, p_against_zero, score_range


@dataclass(frozen=True)
class Paired:
    """The difference a - b over n shared items, in the units of the score."""

    difference: float
    low: float
    high: float
    p_value: float
    """Two-sided, before any adjustment for other comparisons."""
    n: int
    test: Literal["mcnemar_exact", "paired_t", "clustered_t", "sign_exact"]
    """``sign_exact``: all items (or cluster means) differ by the same amount, so t is undefined."""
    b: int
    """Items on which a scored higher."""
    c: int
    """Items on which b scored higher."""
    discordant: float
    """(b + c) / n."""
    se: float
    df: float


@dataclass(frozen=True)
class Estimate:
    """An effect tested against zero, in the units of the score."""

    value: float
    low: float
    high: float
    p_value: float
    n: int
    se: float
    df: float
    test: Literal["contrast_t", "clustered_t", "sign_exact", "bootstrap_t", "seed_bootstrap_t"]


def paired_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, clusters: npt.ArrayLike | None = None, confidence: float = 0.95
) -> Paired:
    """Mean of a - b with a t interval, and its p-value.

    ``a``, ``b`` and ``clusters`` have shape (items,). Exact McNemar (1947) if every score is 0 or 1 and there
    are no clusters, else the paired t test (Student 1908), with clustered standard error (Miller 2024) where
    ``clusters`` are given. Raises ValueError for NaN, for empty arrays and for shapes that differ.
    """
    scores = _pair(a, b)
    mean = _contrast_mean(scores, np.array([1.0, -1.0]), clusters)
    low, high = mean_bounds(mean, _contrast_range(scores, np.array([1.0, -1.0])), confidence)
    wins, losses = int(np.sum(scores[0] > scores[1])), int(np.sum(scores[0] < scores[1]))
    right_or_wrong = bool(np.all((scores == 0) | (scores == 1)))
    grouped = clusters is not None
    exact = right_or_wrong and not grouped
    n = scores.shape[1]
    return Paired(
        difference=mean.value,
        low=low,
        high=high,
        p_value=mcnemar_exact(wins, losses) if exact else p_against_zero(mean),
        n=n,
        test="mcnemar_exact" if exact else "sign_exact" if mean.se == 0 else "clustered_t" if grouped else "paired_t",
        b=wins,
        c=losses,
        discordant=(wins + losses) / n,
        se=mean.se,
        df=mean.df,
    )


def mcnemar_exact(b: int, c: int) -> float:
    """min(1, 2 min(P(X <= b), P(X >= b))) with X ~ Binomial(b + c, 1/2) (McNemar 1947, exact form).

    ``b`` and ``c`` count the pairs that only one side got right; the pairs that agree do not enter.
    """
    if b < 0 or c < 0:
        raise ValueError(f"discordant pairs: got {b} and {c}, expected counts of 0 or more")
    lower, upper = binom.cdf(b, b + c, 0.5), binom.sf(b - 1, b + c, 0.5)
    return float(min(1.0, 2 * min(lower, upper)))


def contrast(
    scores: npt.ArrayLike, weights: npt.ArrayLike, clusters: npt.ArrayLike | None = None, confidence: float = 0.95
) -> Estimate:
    """Weighted sum of cells, item by item, then its mean with a t interval: factor effects, paired over items.

    ``scores`` has shape (cells, items), ``weights`` (cells,), as ``factors`` makes them; weights sum to 0, for
    otherwise "no effect" is not 0. Raises ValueError for NaN, shapes that disagree, or another sum.
    """
    table, per_cell = finite(scores, "scores", ndim=2), finite(weights, "weights")
    if per_cell.shape != table.shape[:1]:
        raise ValueError(f"weights: got {len(per_cell)}, expected {len(table)}, one per row of scores")
    if abs(per_cell.sum()) > 1e-9 * np.abs(per_cell).sum() or not per_cell.any():
        raise ValueError(f"weights: got a sum of {per_cell.sum():g}, expected 0 with some not 0")
    mean = _contrast_mean(table, per_cell, clusters)
    low, high = mean_bounds(mean, _contrast_range(table, per_cell), confidence)
    test = "sign_exact" if mean.se == 0 else "contrast_t" if clusters is None else "clustered_t"
    return Estimate(mean.value, low, high, p_against_zero(mean), table.shape[1], mean.se, mean.df, test)


def _pair(a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
    first, second = finite(a, "a"), finite(b, "b")
    if first.shape != second.shape:
        raise ValueError(
            f"paired scores: got {len(first)} and {len(second)} items, expected the same items in the same order; "
            "pair them by sample id first"
        )
    return np.stack([first, second])


def _contrast_mean(scores: FloatArray, weights: FloatArray, clusters: npt.ArrayLike | None) -> Mean:
    scale = float(np.abs(scores).max() * np.abs(weights).sum())
    return clustered_mean(np.sum(weights[:, None] * scores, axis=0), clusters, scale)


def _contrast_range(scores: FloatArray, weights: FloatArray) -> tuple[float, float]:
    low, high = score_range(scores)
    raised, lowered = float(weights[weights > 0].sum()), float(weights[weights < 0].sum())
    return raised * low + lowered * high, raised * high + lowered * low
