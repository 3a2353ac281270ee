"""Before running: the smallest difference that n items or seeds can show, and how many items or seeds show one.

"Undecided" and "no difference" are told apart by the smallest difference that it would probably detect.

For right/wrong scores the variance of the paired difference is p_disc - delta^2, p_disc being the share of
items on which the variants disagree (Miettinen 1968; Connor 1987). So two similar variants need fewer items
than two that merely score alike. That is a normal approximation; ``mcnemar_power`` is exact and says what it is worth:
77 to 79 % in place of 80 % on 500 items or more, 75 to 77 % on 164 to 263. On fewer than ``FEW`` items it would fall
to 70 %, so half an item is added there. Effects and discordance are shares; multiply by 100 for points.
"""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import beta, binom, nct, norm, t

from tunelab.stats.arrays import check_share
from tunelab.stats.levels import two_level_df

FEW = 150
MOST_SEEDS = 10_000
NEGLIGIBLE = 1e-13
"""Probability of the numbers of discordant items that a sum over them leaves out, on either side."""
MANY = 1_000_000
"""Degrees of freedom from which on t is the normal distribution."""


def minimum_detectable_effect(n: int, discordance: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest paired difference of right/wrong scores found with probability ``power`` at two-sided ``alpha``.

    Solves delta = k sqrt((discordance - delta^2) / n), k = z(1 - alpha/2) + z(power), which gives
    delta = k sqrt(discordance / (n + k^2)); on fewer than 150 items half an item, 1/(2n), is added. Never less than
    the exact test sees where all that disagree do so one way: m of them with 2 / 2^m <= alpha, six at 0.05, with
    probability ``power``. On fewer than m items, ``fewest_items``, no difference can be seen: it is infinite.
    Raises ValueError unless n >= 1 and 0 <= discordance <= 1.
    """
    _check_items(n)
    _check_discordance(discordance)
    k = _k(power, alpha)
    delta = k * math.sqrt(discordance / (n + k**2)) + (1 / (2 * n) if n < FEW else 0)
    fewest = fewest_items(alpha)
    if n < fewest:
        return math.inf
    return min(1.0, max(delta, float(beta.ppf(power, fewest, n - fewest + 1))))


def fewest_items(alpha: float = 0.05) -> int:
    """Fewest items on which the exact test reaches ``alpha``, all of them disagreeing one way: six at 0.05."""
    return math.ceil(math.log2(2 / check_share(alpha, "alpha")))


def items_needed(effect: float, discordance: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Fewest items whose minimum detectable effect is at most ``effect``, a share other than 0; its sign is ignored.

    Raises ValueError for an effect of 0 or beyond 1, or a discordance outside 0 to 1.
    """
    delta = abs(effect)
    if not 0 < delta <= 1:
        raise ValueError(f"effect: got {effect}, expected a share between 0 and 1 other than 0")
    _check_discordance(discordance)
    fewest, most = fewest_items(alpha), FEW
    reach = delta * (1 + 1e-9)  # what is equal but for rounding is equal
    while minimum_detectable_effect(most, discordance, power, alpha) > reach:
        most *= 2
    sizes = range(fewest, most + 1)
    found = bisect_left(sizes, True, key=lambda n: minimum_detectable_effect(n, discordance, power, alpha) <= reach)
    return sizes[found]


def mcnemar_power(effect: float, n: int, discordance: float, alpha: float = 0.05) -> float:
    """Probability that the exact McNemar test finds ``effect`` on n items: summed over its outcomes, no approximation.

    A discordance below the effect is impossible and is raised to it. Raises ValueError as ``items_needed`` does.
    """
    _check_items(n)
    _check_discordance(discordance)
    if not abs(effect) <= 1:
        raise ValueError(f"effect: got {effect}, expected a share from -1 to 1")
    share = max(discordance, abs(effect))
    if share == 0:
        return 0.0
    discordant = np.arange(int(binom.ppf(NEGLIGIBLE, n, share)), int(binom.isf(NEGLIGIBLE, n, share)) + 1)
    first = (1 + effect / share) / 2
    return float(binom.pmf(discordant, n, share) @ _rejected(discordant, first, alpha))


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


def minimum_detectable_t(se: float, df: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest effect that t finds with probability ``power``, by the noncentral t distribution.

    ``se`` and ``df`` are those of a difference of graded scores, over clusters or over seeds, in the units
    of the score. Raises ValueError unless se >= 0 and df > 0.
    """
    _check_sd(se)
    if not df > 0:
        raise ValueError(f"df: got {df}, expected more than 0")
    return se * _noncentrality(df, power, alpha)


def seeds_needed(
    effect: float, seed_sd: float, item_se: float = 0.0, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Fewest seeds, 3 or more, of a recipe with which ``effect`` over a fixed checkpoint is found.

    ``seed_sd`` is the standard deviation between seeds and ``item_se`` the standard error that the items leave
    whatever the number of seeds, both in the units of the effect. None where the items alone hide the effect, or
    10,000 seeds would not do. Raises ValueError for an effect of 0 or a spread below 0.
    """
    if not (math.isfinite(effect) and effect != 0):
        raise ValueError(f"effect: got {effect}, expected a finite number other than 0")
    _check_sd(seed_sd)
    _check_sd(item_se)

    def seen(seeds: int) -> bool:
        return minimum_detectable_with_seeds(seeds, seed_sd, item_se, power, alpha) <= abs(effect) * (1 + 1e-9)

    sizes = range(3, MOST_SEEDS + 1)
    found = bisect_left(sizes, True, key=seen)
    return sizes[found] if found < len(sizes) else None


def minimum_detectable_with_seeds(
    seeds: int, seed_sd: float, item_se: float = 0.0, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Smallest difference from a fixed checkpoint that ``seeds`` seeds of a recipe show; arguments as ``seeds_needed``.

    The error of the items is taken as known, that of the seeds as estimated from them. Raises ValueError for fewer than
    two seeds.
    """
    if seeds < 2:
        raise ValueError(f"seeds: got {seeds}, expected at least 2")
    _check_sd(seed_sd)
    _check_sd(item_se)
    both = (item_se**2, MANY), (seed_sd**2 / seeds, seeds - 1)
    se = math.hypot(item_se, seed_sd / math.sqrt(seeds))
    return minimum_detectable_t(se, two_level_df(*both), power, alpha) if se else 0.0


def _rejected(discordant: npt.NDArray[np.int_], first: float, alpha: float) -> npt.NDArray[np.float64]:
    """Probability that so many items, each for the first side with probability ``first``, reach alpha."""
    least = binom.ppf(alpha / 2, discordant, 0.5)
    least = np.where(binom.cdf(least, discordant, 0.5) <= alpha / 2, least, least - 1)
    return binom.cdf(least, discordant, first) + binom.sf(discordant - least - 1, discordant, first)


def _noncentrality(df: float, power: float, alpha: float) -> float:
    """Return how many standard errors an effect must have to be found."""
    normal = _k(power, alpha)
    critical = float(t.ppf(1 - alpha / 2, df))
    if df >= MANY:
        return normal

    def beyond(effect: float) -> float:
        return float(nct.sf(critical, df, effect)) - power

    return float(brentq(beyond, 0.0, 4 * critical + normal))  # pyright: ignore[reportArgumentType]


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
