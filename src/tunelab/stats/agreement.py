"""The noise floor: how often one variant, evaluated twice, scores an item differently.

Batching, kernels and sampling make two evaluations of the same weights disagree. A difference between
variants that is no larger than this is not the recipe's doing. Flips in opposite directions cancel in the
mean, so the flip rate, not the change of the score, is what to show beside the differences.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tunelab.stats.arrays import finite
from tunelab.stats.intervals import Interval, wilson


def flip_rate(first: npt.ArrayLike, second: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Share of items whose score differs between two runs of one variant, with its Wilson (1927) interval.

    Both arrays have shape (items,), the same items in the same order; for a graded score any change is a flip.
    Raises ValueError for NaN, empty arrays, or numbers of items that differ.
    """
    one, two = finite(first, "first"), finite(second, "second")
    if one.shape != two.shape:
        raise ValueError(f"two runs: got {len(one)} and {len(two)} items, expected the same items")
    return wilson(int(np.count_nonzero(one != two)), len(one), confidence)
