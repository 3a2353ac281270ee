"""What a comparison can see before it is run: the smallest difference that it would probably detect.

For right/wrong scores the variance of the paired difference is p_disc - delta^2, p_disc being the share of
items on which the variants disagree (Miettinen 1968; Connor 1987). So two similar variants need fewer items
than two that merely score alike. All are normal approximations: on a few dozen items the exact test
detects somewhat less. Effects and discordance are shares; multiply by 100 for points.
"""

from __future__ import annotations

import math

from scipy.stats import norm

from tunelab.stats.arrays import check_share


def minimum_detectable_effect(n: int, discordance: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest paired difference found with probability ``power`` at two-sided ``alpha``.

    Solves delta = k sqrt((discordance - delta^2) / n), k = z(1 - alpha/2) + z(power), which gives
    delta = k sqrt(discordance / (n + k^2)). No difference exceeds the share of items that disagree, so where
    that root would, the disagreement is taken to be the effect itself, all one way: delta = k^2 / (n + k^2).
    Raises ValueError unless n >= 1 and 0 <= discordance <= 1.
    """
    _check_items(n)
    _check_discordance(discordance)
    k = _k(power, alpha)
    return max(k * math.sqrt(discordance / (n + k**2)), k**2 / (n + k**2))


def items_needed(effect: float, discordance: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Fewest items whose minimum detectable effect is at most ``effect``, a share other than 0; its sign is ignored.

    Never fewer than hold as many discordant items, on average, as the exact test needs to reach ``alpha`` at all:
    m with 2 / 2^m <= alpha, six at 0.05. A discordance below the effect is impossible and is raised to it.
    Raises ValueError for an effect of 0 or beyond 1, or a discordance outside 0 to 1.
    """
    delta = abs(effect)
    if not 0 < delta <= 1:
        raise ValueError(f"effect: got {effect}, expected a share between 0 and 1 other than 0")
    _check_discordance(discordance)
    share = max(discordance, delta)
    n = _k(power, alpha) ** 2 * (share - delta**2) / delta**2
    return max(_round_up(math.ceil(math.log2(2 / alpha)) / share), _round_up(n))


def items_needed_mean(effect: float, sd: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Fewest items whose minimum detectable mean is at most ``effect``, in the units of the score: (k sd / effect)^2.

    ``sd`` is the standard deviation of the paired differences; for clustered items SE sqrt(n), which holds for
    clusters of the same size. At least 2, for one item has no spread. Raises ValueError for an effect of 0 or an
    sd below 0.
    """
    if not (math.isfinite(effect) and effect != 0):
        raise ValueError(f"effect: got {effect}, expected a finite number other than 0")
    _check_sd(sd)
    return max(2, _round_up((_k(power, alpha) * sd / effect) ** 2))


def minimum_detectable_mean(sd: float, n: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest mean difference of a graded score found with probability ``power``: k sd / sqrt(n).

    ``sd`` is the standard deviation of the paired differences, in the units of the score, and so is the
    result. Raises ValueError unless sd >= 0 and n >= 1.
    """
    _check_items(n)
    _check_sd(sd)
    return _k(power, alpha) * sd / math.sqrt(n)


def _k(power: float, alpha: float) -> float:
    check_share(alpha, "alpha")
    check_share(power, "power")
    return float(norm.ppf(1 - alpha / 2) + norm.ppf(power))


def _round_up(n: float) -> int:
    """Return the next whole number, of what is a whole number but for rounding errors that number itself."""
    return max(1, math.ceil(n - 1e-9 * n))


def _check_sd(sd: float) -> None:
    if not (math.isfinite(sd) and sd >= 0):
        raise ValueError(f"sd: got {sd}, expected a finite number of 0 or more")


def _check_items(n: int) -> None:
    if n < 1:
        raise ValueError(f"n: got {n}, expected at least one item")


def _check_discordance(discordance: float) -> None:
    if not 0 <= discordance <= 1:
        raise ValueError(f"discordance: got {discordance}, expected a share from 0 to 1")
