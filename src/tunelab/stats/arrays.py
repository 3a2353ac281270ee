"""What the arrays of this package must be, checked in one place.

Scores are float arrays without NaN: a sample that was not scored has no place in an array, because every
value that stood in for it (zero, the mean, NaN) would change the answer. Leave it out of both variants and
count it; ``bounds_with_missing`` says how much it could matter.

Messages read ``what: got <value>, expected <...>; do <...>`` and are ``ValueError``: the caller, which knows
the sample ids and the task, turns them into an error for people.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]


def finite(values: npt.ArrayLike, name: str, ndim: int = 1) -> FloatArray:
    """Return ``values`` as a non-empty float array of ``ndim`` axes; ValueError for any other, NaN or infinity."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != ndim:
        raise ValueError(f"{name}: got {array.ndim} axes of shape {array.shape}, expected {ndim}")
    if array.size == 0:
        raise ValueError(f"{name}: got no values, expected at least one")
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        raise ValueError(
            f"{name}: got {bad} NaN or infinite of {array.size}, expected finite scores; "
            "leave unscored items out and count them as missing"
        )
    return array


def cluster_codes(clusters: npt.ArrayLike | None, n_items: int) -> tuple[IndexArray, int]:
    """Return the cluster number of each item and how many clusters there are; no clusters means one per item.

    ``clusters`` has shape (items,) and holds any sortable labels: a passage id, a problem id.
    """
    if clusters is None:
        return np.arange(n_items, dtype=np.intp), n_items
    labels = np.asarray(clusters)
    if labels.shape != (n_items,):
        raise ValueError(f"clusters: got shape {labels.shape}, expected ({n_items},), one label per item")
    names, codes = np.unique(labels, return_inverse=True)
    return codes.astype(np.intp), len(names)


def check_share(value: float, name: str) -> float:
    """Return ``value`` if it lies strictly between 0 and 1 (a confidence, a power, an alpha); ValueError if not."""
    if not 0 < value < 1:
        raise ValueError(f"{name}: got {value}, expected a number between 0 and 1")
    return value
