"""pass@k: the chance that one of k programs passes, from n that were drawn.

pass@1 is the mean of the draws, as for any metric. The others are there where every item has enough draws.
"""

from __future__ import annotations

from tunelab.errors import DataError


def pass_at_k(n: int, passed: int, k: int) -> float:
    """Return the unbiased estimate of Chen et al. (2021), 1 - C(n-c, k) / C(n, k), as a product of small factors.

    Raises DataError for fewer programs than k: their chance cannot be estimated.
    """
    if n < k:
        raise DataError(f"pass@{k}: got {n} programs of a problem, expected at least {k}")
    if n - passed < k:
        return 1.0
    failing = 1.0
    for drawn in range(n - passed + 1, n + 1):
        failing *= 1 - k / drawn
    return 1 - failing
