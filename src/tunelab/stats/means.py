"""The mean of item scores, its standard error, and the t interval: the core that every paired test shares.

One formula serves items and clusters: SE = sqrt(C/(C-1) * sum over clusters of (sum of residuals)^2) / n,
with t on C-1 degrees of freedom. When each item is its own cluster this is s/sqrt(n).

No spread at all (every unit has the same value) leaves t undefined, and an interval of zero width would claim
certainty from, say, eight right answers. Then the interval is Clopper-Pearson's for "all C of C units agree",
with the units that might disagree placed at the ends of the score's range; and the p-value is the exact sign
test's. The range is the wider of [0, 1] and what was observed. One unit alone is the same case.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, t

from tunelab.stats.arrays import FloatArray, check_share, cluster_codes, finite
from tunelab.stats.intervals import Interval, clopper_pearson

# Relative to the scores: far above what summing rounding errors can reach, far below any real spread.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Mean:
    """A mean with its standard error; ``units`` counts the independent draws: clusters, or items without them."""

    value: float
    se: float
    df: float
    units: int


def clustered_mean(values: FloatArray, clusters: npt.ArrayLike | None, scale: float) -> Mean:
    """Mean of ``values`` (items,) with the clustered standard error (Liang & Zeger 1986; Miller 2024).

    ``scale`` is the size of the numbers that ``values`` were computed from: a spread below rounding error at
    that size counts as none, so that 0.3 - 0.1 and 0.4 - 0.2 are the same difference.
    """
    codes, units = cluster_codes(clusters, len(values))
    value = float(values.mean())
    sums = np.bincount(codes, weights=values - value, minlength=units)
    se = float(np.sqrt(units / max(units - 1, 1) * np.sum(sums**2)) / len(values))
    if se > ROUNDING * scale:
        return Mean(value, se, df=units - 1, units=units)
    return Mean(value if abs(value) > ROUNDING * scale else 0.0, se=0.0, df=units - 1, units=units)


def mean_bounds(mean: Mean, span: tuple[float, float], confidence: float) -> tuple[float, float]:
    """Low and high of ``mean``: Student's t, or the exact bounds for unanimous units inside ``span``.

    Shares and their differences do not leave ``span``: few items would else claim a score below 0.
    """
    check_share(confidence, "confidence")
    if mean.se == 0:
        dissent = 1 - clopper_pearson(mean.units, mean.units, confidence).low
        below, above = max(mean.value - span[0], 0.0), max(span[1] - mean.value, 0.0)
        return mean.value - dissent * below, mean.value + dissent * above
    half = float(t.ppf((1 + confidence) / 2, mean.df)) * mean.se
    low, high = mean.value - half, mean.value + half
    bounded = span[0] >= -1 and span[1] <= 1
    return (max(low, span[0]), min(high, span[1])) if bounded else (low, high)


def p_against_zero(mean: Mean) -> float:
    """Two-sided p-value of "the mean is 0": Student's t, or the exact sign test for unanimous units."""
    if mean.se == 0:
        return 1.0 if mean.value == 0 else float(binomtest(mean.units, mean.units).pvalue)
    return float(2 * t.sf(abs(mean.value) / mean.se, mean.df))


def score_range(scores: FloatArray) -> tuple[float, float]:
    """The range that an unseen score may take: the wider of [0, 1] and the observed one."""
    return min(0.0, float(scores.min())), max(1.0, float(scores.max()))


def mean_t(values: npt.ArrayLike, clusters: npt.ArrayLike | None = None, confidence: float = 0.95) -> Interval:
    """t interval of the mean of a graded score (F1, ROUGE), with clustered standard error where items share one.

    ``values`` has shape (items,), ``clusters`` the same or None. The clustered formula is Miller 2024, "Adding
    error bars to evals", with the C/(C-1) correction and t on C-1 degrees of freedom; it also serves 0/1
    scores of clustered items. Raises ValueError for NaN, an empty array or labels of another length.
    """
    scores = finite(values, "values")
    mean = clustered_mean(scores, clusters, scale=float(np.abs(scores).max()))
    low, high = mean_bounds(mean, score_range(scores), confidence)
    method = "unanimous" if mean.se == 0 else "t" if clusters is None else "clustered_t"
    return Interval(mean.value, low, high, n=len(scores), method=method, se=mean.se)
