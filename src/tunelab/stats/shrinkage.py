"""Means of many small groups, drawn toward the mean of all as far as their own items cannot speak for themselves.

The best and the worst of 57 subjects are mostly the small ones: their means vary most. The empirical Bayes estimate
keeps of each group's distance from the mean of all the share that is signal, which the groups themselves show: how
much more they differ than their items' spread would make them. With no more difference than chance makes, every
group gets the mean of all. Nothing is said of its uncertainty: a normal interval around it would take the two
variances as known, and is too narrow where groups are few.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tunelab.stats.arrays import FloatArray, cluster_codes, finite

FEWEST = 4
"""Groups from which on shrinking toward their own mean is better than not to (Efron & Morris 1973)."""


def shrunken_means(
    values: npt.ArrayLike, groups: npt.ArrayLike, clusters: npt.ArrayLike | None = None
) -> FloatArray | None:
    """Return each group's credibility-weighted mean, shape (groups,), in the order of the sorted labels.

    m + Z_j (x_j - m) with Z_j = w_j T / (w_j T + S) (Bühlmann & Straub 1970): m is the mean of all items, x_j that of
    the group's w_j items, S the variance within groups and T the one between them, both by moments and T at least 0.
    ``values``, ``groups`` and ``clusters`` have shape (items,); items of a group that share a cluster are one draw,
    weighing as many items as it has. None where T or S cannot be had: for fewer than four groups, or when no
    group has two draws. Raises ValueError for NaN, no values, and labels of another length.
    """
    scores = finite(values, "values")
    group, n_groups = cluster_codes(groups, len(scores))
    source, n_sources = cluster_codes(clusters, len(scores))
    places, draw = np.unique(group * n_sources + source, return_inverse=True)
    if n_groups < FEWEST or len(places) == n_groups:
        return None
    items, sizes = np.bincount(group).astype(np.float64), np.bincount(draw)
    means, drawn = np.bincount(group, weights=scores) / items, np.bincount(draw, weights=scores) / sizes
    within = float(sizes @ (drawn - means[places // n_sources]) ** 2) / (len(places) - n_groups)
    between = _between(means, items, within)
    total = items * between + within
    kept = np.divide(items * between, total, out=np.zeros(n_groups), where=total > 0)
    return scores.mean() + kept * (means - scores.mean())


def _between(means: FloatArray, items: FloatArray, within: float) -> float:
    """Return the variance between groups: what their means differ more than ``within`` explains."""
    n = items.sum()
    excess = float(items @ (means - items @ means / n) ** 2) - (len(means) - 1) * within
    return max(excess / float(n - items @ items / n), 0.0)
