"""The bootstrap over items, for metrics that are not a mean over items: BLEU, F1 over a whole task.

Most corpus metrics are functions of sums over items (true positives; n-gram matches and lengths). ``corpus_interval``
takes those parts: a replicate is then a weighted sum, and thousands cost a matrix product. A statistic that is no
function of sums takes an index array and recomputes itself on those items, repeats included. A difference of two
variants draws the same items for both, so the pairing survives.
The replicates give the standard error; the interval is the estimate plus and minus t standard errors, which
always holds the estimate and is symmetric under swapping two variants, as percentiles are not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tunelab.stats.arrays import FloatArray, IndexArray, cluster_codes, finite
from tunelab.stats.intervals import Interval
from tunelab.stats.means import ROUNDING, Mean, mean_bounds, p_against_zero
from tunelab.stats.paired import Estimate

Statistic = Callable[[IndexArray], float]
Drawn = TypeVar("Drawn")
Total = Callable[[FloatArray], float]
"""From the sums of the parts, shape (parts,), to the value of the metric."""

REPLICATES = 2000
DRAWN_AT_ONCE = 1 << 22
"""Units drawn in one array: 32 MiB, whatever the number of items."""


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
    return _interval(_bootstrap(statistic, n_items, seed, replicates, clusters), n_items)


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
    return _difference(_bootstrap(statistic, n_items, seed, replicates, clusters), n_items)


def corpus_interval(
    parts: npt.ArrayLike,
    total: Total,
    clusters: npt.ArrayLike | None = None,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Interval:
    """95 % interval of ``total(sum of parts over items)`` by the bootstrap (Efron 1979).

    ``parts`` has shape (items, parts). A mean is the case of the parts (score, 1) and the quotient of their sums.
    SE is the standard deviation of the replicates times sqrt(C/(C-1)), C being the items or, with ``clusters``
    of shape (items,), the clusters that are drawn whole; t has C-1 degrees of freedom.
    Raises ValueError for NaN, other shapes, fewer than two replicates, or a metric that is not finite on some draw.
    """
    table = finite(parts, "parts", ndim=2)
    return _interval(_corpus(table[None], np.ones(1), total, seed, replicates, clusters), len(table))


def paired_corpus_difference(
    parts_a: npt.ArrayLike,
    parts_b: npt.ArrayLike,
    total: Total,
    clusters: npt.ArrayLike | None = None,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Estimate:
    """Metric of a minus metric of b on the same items, with a 95 % interval and a two-sided p-value from t.

    Both have shape (items, parts), the same items in the same order; each replicate draws the same items of both.
    Raises ValueError as ``corpus_interval`` does, and for shapes that differ.
    """
    first, second = finite(parts_a, "parts_a", ndim=2), finite(parts_b, "parts_b", ndim=2)
    if first.shape != second.shape:
        raise ValueError(
            f"paired parts: got shapes {first.shape} and {second.shape}, expected the same items and parts; "
            "pair them by sample id first"
        )
    return corpus_contrast(np.stack([first, second]), (1, -1), total, clusters, seed, replicates)


def corpus_contrast(
    parts: npt.ArrayLike,
    weights: npt.ArrayLike,
    total: Total,
    clusters: npt.ArrayLike | None = None,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Estimate:
    """Weighted sum of the cells' corpus metrics, with a 95 % interval and a two-sided p-value from t.

    ``parts`` has shape (cells, items, parts), ``weights`` (cells,) and sums to 0; each replicate draws the same items
    of all cells. Raises ValueError as ``corpus_interval`` does, and for weights of another shape or sum.
    """
    tables, factors = finite(parts, "parts", ndim=3), finite(weights, "weights")
    if len(factors) != len(tables) or abs(factors.sum()) > ROUNDING or not factors.any():
        raise ValueError(f"weights: got {factors.tolist()}, expected {len(tables)} of them with a sum of 0, some not 0")
    mean = _corpus(tables, factors, total, seed, replicates, clusters)
    return _difference(mean, tables.shape[1], reach=float(np.abs(factors).sum()) / 2)


def corpus_mean(parts: npt.ArrayLike, total: Total, clusters: npt.ArrayLike | None = None) -> Interval:
    """Mean of the cells' corpus metrics on the same items, with its 95 % interval.

    ``parts`` has shape (cells, items, parts). Raises ValueError as ``corpus_interval`` does.
    """
    tables = finite(parts, "parts", ndim=3)
    shares = np.full(len(tables), 1 / len(tables))
    return _interval(_corpus(tables, shares, total, 0, REPLICATES, clusters), tables.shape[1])


def _interval(mean: Mean, n: int) -> Interval:
    low, high = mean_bounds(mean, (min(0.0, mean.value), max(1.0, mean.value)), confidence=0.95)
    return Interval(mean.value, low, high, n=n, method="bootstrap", se=mean.se)


def _difference(mean: Mean, n: int, reach: float = 1.0) -> Estimate:
    """Estimate of a difference that shares cannot take beyond ``reach`` on either side."""
    low, high = mean_bounds(mean, (min(-reach, mean.value), max(reach, mean.value)), confidence=0.95)
    test = "sign_exact" if mean.se == 0 else "bootstrap_t"
    return Estimate(mean.value, low, high, p_against_zero(mean), n, mean.se, mean.df, test)


def _corpus(
    tables: FloatArray, weights: FloatArray, total: Total, seed: int, replicates: int, clusters: npt.ArrayLike | None
) -> Mean:
    """Weighted sum over tables of the metric, ``tables`` of shape (tables, items, parts)."""
    drawn, units = drawn_sums(tables, seed, replicates, clusters)
    value = weights @ [_value(total, table.sum(axis=0), "all items") for table in tables]
    draws = values_of(drawn, total) @ weights
    return _summary(float(value), draws * np.sqrt(units / max(units - 1, 1)), units)


def drawn_sums(
    tables: FloatArray, seed: int, replicates: int, clusters: npt.ArrayLike | None
) -> tuple[FloatArray, int]:
    """Sums of the parts over the items that each replicate draws, shape (replicates, tables, parts), and C.

    ``tables`` has shape (tables, items, parts); a replicate draws the same items, or whole clusters, of all tables.
    """
    _check_replicates(replicates)
    codes, units = cluster_codes(clusters, tables.shape[1])
    sums = np.zeros((units, tables.shape[0], tables.shape[2]))
    np.add.at(sums, codes, np.swapaxes(tables, 0, 1))
    drawn = np.empty((replicates, *sums.shape[1:]))
    rng, at_once = np.random.default_rng(seed), max(1, DRAWN_AT_ONCE // units)
    for start in range(0, replicates, at_once):
        counts = _counts(rng, min(at_once, replicates - start), units)
        drawn[start : start + at_once] = np.tensordot(counts, sums, axes=1)
    return drawn, units


def values_of(drawn: FloatArray, total: Total) -> FloatArray:
    """Return the metric of each table on each replicate, shape (replicates, tables); ValueError where not finite."""
    return np.array([[_value(total, row, f"replicate {i}") for row in rows] for i, rows in enumerate(drawn)])


def _counts(rng: np.random.Generator, replicates: int, units: int) -> FloatArray:
    """How often each replicate draws each unit, shape (replicates, units)."""
    places = rng.integers(units, size=(replicates, units)) + units * np.arange(replicates)[:, None]
    return np.bincount(places.ravel(), minlength=replicates * units).reshape(replicates, units).astype(np.float64)


def _bootstrap(statistic: Statistic, n_items: int, seed: int, replicates: int, clusters: npt.ArrayLike | None) -> Mean:
    if n_items < 1:
        raise ValueError(f"n_items: got {n_items}, expected at least one item")
    _check_replicates(replicates)
    codes, units = cluster_codes(clusters, n_items)
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    rng = np.random.default_rng(seed)
    value = _value(statistic, np.arange(n_items, dtype=np.intp), "all items")
    draws: FloatArray = np.empty(replicates)
    for i in range(replicates):
        chosen = rng.integers(units, size=units)
        indices = chosen if clusters is None else np.concatenate([members[c] for c in chosen])
        draws[i] = _value(statistic, indices.astype(np.intp), f"replicate {i}")
    return _summary(value, draws, units)


def _summary(value: float, draws: FloatArray, units: int) -> Mean:
    se = float(draws.std(ddof=1))
    spread = se > ROUNDING * float(np.abs(draws).max())
    return Mean(value, se if spread else 0.0, df=units - 1, units=units)


def _value(metric: Callable[[Drawn], float], drawn: Drawn, where: str) -> float:
    value = float(metric(drawn))
    if not np.isfinite(value):
        raise ValueError(
            f"statistic: got {value} on {where}, expected a finite metric; "
            "define it for samples that lack a class (F1 without positives is 0)"
        )
    return value


def _check_replicates(replicates: int) -> None:
    if replicates < 2:
        raise ValueError(f"replicates: got {replicates}, expected at least 2; 2000 is usual")
