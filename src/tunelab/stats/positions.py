"""Position bias: whether right answers stand at some places of the choices more often than at others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scipy import stats


def position_bias(counts: Mapping[int, Sequence[int]]) -> dict[str, Any]:
    """Test whether every place among the choices is equally often the right one.

    ``counts`` maps a number of choices k to the k counts of questions whose answer stands first, second and so on.
    Pearson's chi-square statistics of the different k are added, as are their k - 1 degrees of freedom. Questions must
    be independent: translations of one question count once. ``p`` is None where nothing can be tested: fewer than two
    choices, or an expected count below 5 (Cochran 1954).
    """
    tested = {k: found for k, found in counts.items() if k > 1 and sum(found)}
    statistic = sum(float(stats.chisquare(found).statistic) for found in tested.values())
    freedom = sum(k - 1 for k in tested)
    enough = bool(tested) and min(sum(found) / k for k, found in tested.items()) >= 5
    p = float(stats.chi2.sf(statistic, freedom)) if enough else None
    return {"chi2": statistic, "df": freedom, "p": p, "questions": sum(map(sum, counts.values()))}
