"""What a number is allowed to say, in words that a reader cannot misread.

A comparison has three outcomes, and "undecided" is not "equal": show the minimum detectable effect beside it.
A threshold has four: whether the score meets it, and whether the interval leaves room for the opposite.
Scores are taken as higher is better; for a loss or an unsafe rate, pass the difference with its sign turned.
"""

from __future__ import annotations

import math
from enum import StrEnum

from tunelab.stats.arrays import check_share
from tunelab.stats.intervals import Interval


class Verdict(StrEnum):
    """Outcome of a comparison with its baseline."""

    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "undecided"


class ThresholdVerdict(StrEnum):
    """Outcome of "the score is at least x": the estimate decides pass or fail, the interval how surely."""

    PASS = "pass"
    PASS_UNCERTAIN = "pass (uncertain)"
    FAIL_UNCERTAIN = "fail (uncertain)"
    FAIL = "fail"


def verdict(difference: float, p_adjusted: float, alpha: float = 0.05) -> Verdict:
    """Decide by the adjusted p-value (p <= alpha), then by the sign of ``difference``.

    Raises ValueError for NaN, a p-value outside 0 to 1 or an alpha not between them.
    """
    check_share(alpha, "alpha")
    if math.isnan(difference) or not 0 <= p_adjusted <= 1:
        raise ValueError(f"comparison: got difference {difference} and p {p_adjusted}, expected p from 0 to 1")
    if p_adjusted > alpha or difference == 0:
        return Verdict.UNDECIDED
    return Verdict.BETTER if difference > 0 else Verdict.WORSE


def threshold(interval: Interval, at_least: float) -> ThresholdVerdict:
    """Compare a score with a declared minimum, in the units of the score. Meeting it exactly passes."""
    if math.isnan(at_least):
        raise ValueError("at_least: got nan, expected the minimum score")
    if interval.value >= at_least:
        return ThresholdVerdict.PASS if interval.low >= at_least else ThresholdVerdict.PASS_UNCERTAIN
    return ThresholdVerdict.FAIL if interval.high < at_least else ThresholdVerdict.FAIL_UNCERTAIN
