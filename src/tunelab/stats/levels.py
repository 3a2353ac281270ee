"""Two levels of error, items and seeds: the t distribution that stands for both."""

from __future__ import annotations

from scipy.optimize import brentq
from scipy.stats import t

QUANTILE = 0.975


def two_level_df(items: tuple[float, float], seeds: tuple[float, float]) -> float:
    """Degrees of freedom whose t makes Howe's (1974) interval at 95 %: of a variance over items and one over seeds.

    Each is a variance and its degrees of freedom; a variance of 0 leaves those of the other.
    """
    variance = items[0] + seeds[0]
    reach = sum(v * float(t.ppf(QUANTILE, df)) ** 2 for v, df in (items, seeds) if v > 0) / variance
    low, high = (f([df for v, df in (items, seeds) if v > 0]) for f in (min, max))
    if low == high:
        return low

    def beyond(df: float) -> float:
        return float(t.ppf(QUANTILE, df)) ** 2 - reach

    return float(brentq(beyond, low, high))  # pyright: ignore[reportArgumentType]
