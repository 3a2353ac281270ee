"""Several seeds of one recipe: what the recipe does, rather than what one checkpoint did.

Scores have shape (seeds, items); every seed answered the same items. The hierarchical bootstrap draws seeds,
then items. The items drawn are shared by all seeds (the "pigeonhole" bootstrap, Owen 2007): a hard question
is hard for each of them, and drawing items afresh per seed would average that away and overstate certainty.

What one seed gets right on one item by luck is in the spread of the items and again in that of the seeds, so the plain
bootstrap counts it three times (Owen 2007, theorem 3) and its 95 % intervals cover 98 to 99 %. Here items are drawn,
seeds are summed in closed form, and that share is taken off: Var = Var_items + max(0, Var_seeds - Var_both).
Half the interval is sqrt(t_items^2 Var_items + t_seeds^2 (Var - Var_items)) (Howe 1974, on two variances): with three
seeds, Satterthwaite's (1946) degrees of freedom alone would cover 92 %. Two recipes' seeds share his.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tunelab.stats.arrays import FloatArray, finite
from tunelab.stats.bootstrap import REPLICATES, Total, drawn_sums, values_of
from tunelab.stats.intervals import Interval
from tunelab.stats.levels import two_level_df
from tunelab.stats.means import ROUNDING, Mean, mean_bounds, p_against_zero, score_range
from tunelab.stats.paired import Estimate

MINIMUM_SEEDS = 3


def seed_mean(
    scores: npt.ArrayLike, seed: int, replicates: int = REPLICATES, clusters: npt.ArrayLike | None = None
) -> Interval:
    """95 % interval of a recipe's mean score; n counts items.

    ``scores`` has shape (seeds, items) with three seeds or more, ``clusters`` (items,). Raises ValueError for
    fewer seeds (``mean_t`` or ``wilson`` then describe a checkpoint), NaN, or shapes that disagree.
    """
    table = _recipe(scores, "scores")
    return _interval([_counted(table)], _ratio, score_range(table), seed, replicates, clusters)


def seed_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, seed: int, replicates: int = REPLICATES, clusters: npt.ArrayLike | None = None
) -> Estimate:
    """Recipe a minus recipe b on the same items, with a 95 % interval and p-value from t.

    ``a`` has shape (seeds, items), three seeds or more. ``b`` is another recipe, or one row (1, items) for a
    fixed checkpoint such as the untrained model, whose seed is not resampled. Seeds of a and b are drawn
    independently: seed 1 of one recipe has nothing to do with seed 1 of the other.
    Raises ValueError for NaN, other numbers of seeds, or different numbers of items.
    """
    first, second = _recipe(a, "a"), _other(b, "b", ndim=2)
    _same_items(first, second)
    low, high = score_range(np.concatenate([first, second]))
    tables = [_counted(first), _counted(second)]
    return _difference(tables, _ratio, (low - high, high - low), seed, replicates, clusters)


def seed_corpus_mean(
    parts: npt.ArrayLike, total: Total, clusters: npt.ArrayLike | None = None, replicates: int = REPLICATES
) -> Interval:
    """95 % interval of a recipe's corpus metric, the mean over its seeds; ``parts`` has shape (seeds, items, parts).

    Raises ValueError as ``seed_mean`` does, and for a metric that is not finite on some draw.
    """
    table = _recipe(parts, "parts", ndim=3)
    return _interval([table], total, (0.0, 1.0), 0, replicates, clusters)


def seed_corpus_difference(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    total: Total,
    clusters: npt.ArrayLike | None = None,
    replicates: int = REPLICATES,
) -> Estimate:
    """Corpus metric of recipe a minus that of b, both of shape (seeds, items, parts); b may be one checkpoint.

    Raises ValueError as ``seed_difference`` does, and for a metric that is not finite on some draw.
    """
    first, second = _recipe(a, "a", ndim=3), _other(b, "b", ndim=3)
    _same_items(first, second)
    return _difference([first, second], total, (-1.0, 1.0), 0, replicates, clusters)


def between_seed_sd(scores: npt.ArrayLike) -> float:
    """Standard deviation (n - 1) of the seeds' mean scores; ``scores`` has shape (seeds, items), two seeds or more."""
    table = finite(scores, "scores", ndim=2)
    if len(table) < 2:
        raise ValueError(f"scores: got {len(table)} seed, expected at least 2; one seed has no spread")
    return float(table.mean(axis=1).std(ddof=1))


@dataclass(frozen=True)
class _Spread:
    """A recipe's variance between seeds, without what items and seeds share, and the degrees of freedom it came of."""

    variance: float
    observed: float
    df: int


def _recipe(scores: npt.ArrayLike, name: str, ndim: int = 2) -> FloatArray:
    table = finite(scores, name, ndim=ndim)
    if len(table) < MINIMUM_SEEDS:
        raise ValueError(
            f"{name}: got {len(table)} seeds, expected at least {MINIMUM_SEEDS}; "
            "with fewer, report each checkpoint by itself"
        )
    return table


def _other(scores: npt.ArrayLike, name: str, ndim: int) -> FloatArray:
    table = finite(scores, name, ndim=ndim)
    return table if len(table) == 1 else _recipe(table, name, ndim)


def _same_items(a: FloatArray, b: FloatArray) -> None:
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(f"paired scores: got {a.shape[1]} and {b.shape[1]} items, expected the same")


def _counted(scores: FloatArray) -> FloatArray:
    """Return scores as the parts of a mean: what is summed, and how many."""
    return np.stack([scores, np.ones_like(scores)], axis=2)


def _ratio(sums: FloatArray) -> float:
    return float(sums[0] / sums[1])


def _interval(
    tables: Sequence[FloatArray],
    total: Total,
    span: tuple[float, float],
    seed: int,
    replicates: int,
    clusters: npt.ArrayLike | None,
) -> Interval:
    mean = _hierarchical(tables, total, seed, replicates, clusters)
    low, high = mean_bounds(mean, (min(span[0], mean.value), max(span[1], mean.value)), confidence=0.95)
    return Interval(mean.value, low, high, n=tables[0].shape[1], method="hierarchical_bootstrap", se=mean.se)


def _difference(
    tables: Sequence[FloatArray],
    total: Total,
    span: tuple[float, float],
    seed: int,
    replicates: int,
    clusters: npt.ArrayLike | None,
) -> Estimate:
    mean = _hierarchical(tables, total, seed, replicates, clusters)
    low, high = mean_bounds(mean, (min(span[0], mean.value), max(span[1], mean.value)), confidence=0.95)
    test = "sign_exact" if mean.se == 0 else "seed_bootstrap_t"
    return Estimate(mean.value, low, high, p_against_zero(mean), tables[0].shape[1], mean.se, mean.df, test)


def _hierarchical(
    tables: Sequence[FloatArray], total: Total, seed: int, replicates: int, clusters: npt.ArrayLike | None
) -> Mean:
    """Mean of the first recipe, less that of the second if there is one; each has shape (seeds, items, parts)."""
    whole = np.concatenate(tables)
    drawn, units = drawn_sums(whole, seed, replicates, clusters)
    draws = drawn[..., 0] / drawn[..., 1] if total is _ratio else values_of(drawn, total)
    draws = draws * np.sqrt(units / max(units - 1, 1))
    values = np.array([total(table.sum(axis=0)) for table in whole])
    sizes = [len(table) for table in tables]
    weights = np.concatenate([np.full(size, sign / size) for size, sign in zip(sizes, (1, -1), strict=False)])
    places = np.split(np.arange(len(whole)), np.cumsum(sizes)[:-1])
    nothing = (ROUNDING * float(np.abs(values).max() or 1)) ** 2
    spreads = [_between(values[place], draws[:, place]) for place in places if len(place) > 1]
    items = float((draws @ weights).var(ddof=1))
    items = items if items > nothing else 0.0
    between = sum(spread.variance for spread in spreads)
    between = between if between > nothing else 0.0
    value = float(weights @ values)
    if items + between == 0:
        return Mean(value if value**2 > nothing else 0.0, se=0.0, df=units - 1, units=units)
    df = two_level_df((items, units - 1), (between, _satterthwaite(spreads)))
    return Mean(value, float(np.sqrt(items + between)), df, units)


def _between(values: FloatArray, draws: FloatArray) -> _Spread:
    """Return the spread of one recipe's seeds: of their ``values`` less the part that the items explain."""
    seeds = len(values)
    apart = draws - draws.mean(axis=1, keepdims=True)
    both = float(apart.var(axis=0, ddof=1).sum()) / (seeds * (seeds - 1))
    observed = float(values.var(ddof=1)) / seeds
    return _Spread(max(0.0, observed - both), observed, seeds - 1)


def _satterthwaite(spreads: Sequence[_Spread]) -> float:
    """Degrees of freedom of a sum of variances (Satterthwaite 1946)."""
    squares = sum(spread.observed**2 / spread.df for spread in spreads)
    return sum(spread.observed for spread in spreads) ** 2 / squares if squares else float(spreads[0].df)
