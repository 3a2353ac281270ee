"""The bootstrap over items, for metrics that are not a mean over items: BLEU, F1 over a whole task.

A statistic is a function of an index array: it recomputes the metric on those items, repeats included. For a
difference of two variants it indexes both with the same array, so the pairing survives.
The replicates give the standard error; the interval is the estimate plus and minus t standard errors, which
always holds the estimate and is symmetric under swapping two variants, as percentiles are not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tunelab.stats.arrays import FloatArray, IndexArray, cluster_codes
from tunelab.stats.intervals import Interval
from tunelab.stats.means import ROUNDING, Mean, mean_bounds, p_against_zero
from tunelab.stats.paired import Estimate

Statistic = Callable[[IndexArray], float]


def bootstrap_statistic(
    statistic: Statistic,
    n_items: int,
    seed: int,
    replicates: int = 1000,
    clusters: npt.ArrayLike | None = None,
) -> Interval:
    """95 % interval of a corpus metric (Efron 1979); SE = standard deviation of the replicates.

    ``statistic`` takes item indices, shape (any,), and returns the metric on them. With ``clusters``, whole
    clusters are drawn, and t has C-1 degrees of freedom. The same seed gives the same interval.
    Raises ValueError for fewer than two replicates, no items, or a metric that is not finite on some draw.
    """
    mean = _bootstrap(statistic, n_items, seed, replicates, clusters)
    low, high = mean_bounds(mean, (min(0.0, mean.value), max(1.0, mean.value)), confidence=0.95)
    return Interval(mean.value, low, high, n=n_items, method="bootstrap", se=mean.se)


def bootstrap_difference(
    statistic: Statistic,
    n_items: int,
    seed: int,
    replicates: int = 1000,
    clusters: npt.ArrayLike | None = None,
) -> Estimate:
    """Paired difference of a corpus metric: ``statistic`` returns metric(a) - metric(b) on the same items.

    The p-value is t's, on the bootstrap standard error. Raises ValueError as ``bootstrap_statistic`` does.
    """
    mean = _bootstrap(statistic, n_items, seed, replicates, clusters)
    low, high = mean_bounds(mean, (min(-1.0, mean.value), max(1.0, mean.value)), confidence=0.95)
    test = "sign_exact" if mean.se == 0 else "bootstrap_t"
    return Estimate(mean.value, low, high, p_against_zero(mean), n_items, mean.se, mean.df, test)


def _bootstrap(statistic: Statistic, n_items: int, seed: int, replicates: int, clusters: npt.ArrayLike | None) -> Mean:
    if n_items < 1:
        raise ValueError(f"n_items: got {n_items}, expected at least one item")
    if replicates < 2:
        raise ValueError(f"replicates: got {replicates}, expected at least 2; 1000 is usual")
    codes, units = cluster_codes(clusters, n_items)
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    rng = np.random.default_rng(seed)
    value = _finite_value(statistic, np.arange(n_items, dtype=np.intp), "all items")
    draws: FloatArray = np.empty(replicates)
    for i in range(replicates):
        chosen = rng.integers(units, size=units)
        indices = chosen if clusters is None else np.concatenate([members[c] for c in chosen])
        draws[i] = _finite_value(statistic, indices.astype(np.intp), f"replicate {i}")
    se = float(draws.std(ddof=1))
    spread = se > ROUNDING * float(np.abs(draws).max())
    return Mean(value, se if spread else 0.0, df=units - 1, units=units)


def _finite_value(statistic: Statistic, indices: IndexArray, where: str) -> float:
    value = float(statistic(indices))
    if not np.isfinite(value):
        raise ValueError(
            f"statistic: got {value} on {where}, expected a finite metric; "
            "define it for samples that lack a class (F1 without positives is 0)"
        )
    return value
