"""Several seeds of one recipe: what the recipe does, rather than what one checkpoint did.

Scores have shape (seeds, items); every seed answered the same items. The hierarchical bootstrap draws seeds,
then items. The items drawn are shared by all seeds (the "pigeonhole" bootstrap, Owen 2007): a hard question
is hard for each of them, and drawing items afresh per seed would average that away and overstate certainty.

Each level draws one unit fewer than it has, which makes the variance of a mean unbiased (Rao & Wu 1988); with
three seeds the ordinary bootstrap would lose a third of the between-seed variance. Degrees of freedom are
Satterthwaite's (1946), so that three noisy seeds widen the interval and three equal seeds do not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tunelab.stats.arrays import FloatArray, cluster_codes, finite
from tunelab.stats.intervals import Interval
from tunelab.stats.means import ROUNDING, Mean, clustered_mean, mean_bounds, p_against_zero, score_range
from tunelab.stats.paired import Estimate

MINIMUM_SEEDS = 3


def seed_mean(
    scores: npt.ArrayLike, seed: int, replicates: int = 2000, clusters: npt.ArrayLike | None = None
) -> Interval:
    """95 % interval of a recipe's mean score; n counts items.

    ``scores`` has shape (seeds, items) with three seeds or more, ``clusters`` (items,). Raises ValueError for
    fewer seeds (``mean_t`` or ``wilson`` then describe a checkpoint), NaN, or shapes that disagree.
    """
    table = _recipe(scores, "scores")
    mean = _hierarchical([table], seed, replicates, clusters)
    low, high = mean_bounds(mean, score_range(table), confidence=0.95)
    return Interval(mean.value, low, high, n=table.shape[1], method="hierarchical_bootstrap", se=mean.se)


def seed_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, seed: int, replicates: int = 2000, clusters: npt.ArrayLike | None = None
) -> Estimate:
    """Recipe a minus recipe b on the same items, with a 95 % interval and p-value from t.

    ``a`` has shape (seeds, items), three seeds or more. ``b`` is another recipe, or one row (1, items) for a
    fixed checkpoint such as the untrained model, whose seed is not resampled. Seeds of a and b are drawn
    independently: seed 1 of one recipe has nothing to do with seed 1 of the other.
    Raises ValueError for NaN, other numbers of seeds, or different numbers of items.
    """
    first, second = _recipe(a, "a"), finite(b, "b", ndim=2)
    if len(second) > 1:
        second = _recipe(b, "b")
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"paired scores: got {first.shape[1]} and {second.shape[1]} items, expected the same")
    mean = _hierarchical([first, second], seed, replicates, clusters)
    low, high = score_range(np.concatenate([first, second]))
    bounds = mean_bounds(mean, (low - high, high - low), confidence=0.95)
    test = "sign_exact" if mean.se == 0 else "seed_bootstrap_t"
    return Estimate(mean.value, *bounds, p_against_zero(mean), first.shape[1], mean.se, mean.df, test)


def between_seed_sd(scores: npt.ArrayLike) -> float:
    """Standard deviation (n - 1) of the seeds' mean scores; ``scores`` has shape (seeds, items), two seeds or more."""
    table = finite(scores, "scores", ndim=2)
    if len(table) < 2:
        raise ValueError(f"scores: got {len(table)} seed, expected at least 2; one seed has no spread")
    return float(table.mean(axis=1).std(ddof=1))


def _recipe(scores: npt.ArrayLike, name: str) -> FloatArray:
    table = finite(scores, name, ndim=2)
    if len(table) < MINIMUM_SEEDS:
        raise ValueError(
            f"{name}: got {len(table)} seeds, expected at least {MINIMUM_SEEDS}; "
            "with fewer, report each checkpoint by itself"
        )
    return table


def _hierarchical(recipes: list[FloatArray], seed: int, replicates: int, clusters: npt.ArrayLike | None) -> Mean:
    """Mean of the first recipe, less that of the second if there is one; each has shape (seeds, items)."""
    if replicates < 2:
        raise ValueError(f"replicates: got {replicates}, expected at least 2; 2000 is usual")
    signed = [recipe if i == 0 else -recipe for i, recipe in enumerate(recipes)]
    by_item = np.sum([recipe.mean(axis=0) for recipe in signed], axis=0)
    scale = float(max(np.abs(recipe).max() for recipe in recipes))
    items = clustered_mean(by_item, clusters, scale)
    draws = _draws(signed, np.random.default_rng(seed), replicates, clusters)
    se = float(draws.std(ddof=1))
    variances = [items.se**2, *(between_seed_sd(r) ** 2 / len(r) for r in signed if len(r) > 1)]
    freedom = [items.df, *(len(r) - 1 for r in signed if len(r) > 1)]
    parts = [(v, df) for v, df in zip(variances, freedom, strict=True) if v > (ROUNDING * scale) ** 2]
    if not parts:
        return Mean(items.value, se=0.0, df=items.df, units=items.units)
    df = sum(v for v, _ in parts) ** 2 / sum(v**2 / df for v, df in parts)
    return Mean(items.value, se, df, units=items.units)


def _draws(
    signed: list[FloatArray], rng: np.random.Generator, replicates: int, clusters: npt.ArrayLike | None
) -> FloatArray:
    codes, units = cluster_codes(clusters, signed[0].shape[1])
    sizes = np.bincount(codes, minlength=units)
    sums = [np.stack([np.bincount(codes, weights=row, minlength=units) for row in r]) for r in signed]
    draws: FloatArray = np.empty(replicates)
    for i in range(replicates):
        counts = np.bincount(rng.integers(units, size=max(units - 1, 1)), minlength=units)
        means = [recipe @ counts / (sizes @ counts) for recipe in sums]
        draws[i] = sum(m[rng.integers(len(m), size=max(len(m) - 1, 1))].mean() for m in means)
    return draws
