"""Agreement: of one variant with itself, the noise floor, and of two judges on the same outputs.

The noise floor is how often one variant, evaluated twice, scores an item differently.

Batching, kernels and sampling make two evaluations of the same weights disagree. A difference between
variants that is no larger than this is not the recipe's doing. Flips in opposite directions cancel in the
mean, so the flip rate, not the change of the score, is what to show beside the differences.

Two judges that both call nearly everything safe agree often by chance. Cohen's kappa takes that out: 1 is full
agreement, 0 is what their rates alone would give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

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


NO_SPREAD = 1e-12
"""A variance of kappa that is rounding."""


@dataclass(frozen=True)
class Agreement:
    """How far two judges agree on the same items. Kappa is None, or without an interval, for the ``reason``."""

    share: Interval
    """Items on which they say the same, of all that both judged."""
    kappa: float | None
    low: float | None
    high: float | None
    reason: str = ""


def agreement(first: npt.ArrayLike, second: npt.ArrayLike, confidence: float = 0.95) -> Agreement:
    """Return share and Cohen's (1960) kappa with the asymptotic interval of Fleiss, Cohen & Everitt (1969).

    Both arrays have shape (items,), the same items in the same order. Raises ValueError as ``flip_rate`` does.
    """
    from statsmodels.stats.inter_rater import cohens_kappa, to_table  # imports pandas: not before it is needed

    one, two = finite(first, "first"), finite(second, "second")
    flips = flip_rate(one, two, confidence)
    equal = flips.n - round(flips.value * flips.n)
    share = wilson(equal, flips.n, confidence)
    if 1 in (len(np.unique(one)), len(np.unique(two))):
        return Agreement(share, None, None, None, "one of the two says the same of every item")
    with np.errstate(invalid="ignore"):  # where no spread is left, rounding makes the variance less than 0
        found: Any = cohens_kappa(to_table(np.column_stack([one, two]))[0])
    kappa = float(found.kappa)
    if found.var_kappa < NO_SPREAD:
        return Agreement(share, kappa, None, None, "no spread to make an interval of")
    margin = float(norm.ppf((1 + confidence) / 2)) * float(np.sqrt(found.var_kappa))
    return Agreement(share, kappa, max(-1.0, kappa - margin), min(1.0, kappa + margin))
