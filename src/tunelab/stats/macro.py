"""Macro averages: the plain mean of scores on different sets of items, with an interval that respects them.

The sets are independent of each other, so variances add: SE = sqrt(sum of w_i^2 SE_i^2), with weights that sum to 1,
and t on the degrees of freedom of Welch (1947) and Satterthwaite (1946). A set of 500 items counts as much in the
average as one of 5,000 and far more in its uncertainty, which pooling the items would hide.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tunelab.stats.means import Mean


def macro_mean(means: Sequence[Mean], weights: Sequence[float] | None = None) -> Mean:
    """Return the weighted mean of independent means, equal weights by default.

    A set without any spread adds none to the average. Raises ValueError for no means, or weights that do not sum to 1.
    """
    if not means:
        raise ValueError("macro average: got no means, expected at least one")
    shares = np.full(len(means), 1 / len(means)) if weights is None else np.asarray(weights, dtype=np.float64)
    if shares.shape != (len(means),) or abs(float(shares.sum()) - 1) > 1e-9:
        raise ValueError(f"weights: got {list(shares)}, expected {len(means)} that sum to 1")
    variances = shares**2 * np.array([mean.se**2 for mean in means])
    total = float(variances.sum())
    spread = [(v, mean.df) for v, mean in zip(variances, means, strict=True) if v > 0]
    df = total**2 / float(sum(v**2 / df for v, df in spread)) if spread else float(min(mean.df for mean in means))
    value = float(np.dot(shares, [mean.value for mean in means]))
    return Mean(value, float(np.sqrt(total)), df, sum(mean.units for mean in means))
