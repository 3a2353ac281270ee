"""What a paired estimate could have seen, and what it would take to see what it estimates.

Both are for planning, at 80 % power and the study's alpha before any correction. The items needed take the observed
effect and spread as the true ones; where items share clusters, more items means more clusters of the same size.
Over seeds, more items alone may never do, so there is no number of items.
"""

from __future__ import annotations

import math
from typing import Any

from tunelab.stats import (
    Estimate,
    Paired,
    items_needed,
    items_needed_mean,
    minimum_detectable_effect,
    minimum_detectable_t,
)
from tunelab.study.scored import size_of


def sensitivity(found: Paired | Estimate, alpha: float) -> dict[str, Any]:
    """Return ``minimum_detectable_effect`` and ``items_needed``.

    The former is None where no difference can be seen, on fewer items than the exact test needs to reach alpha; the
    latter for an estimate of exactly 0.
    """
    value = size_of(found)
    if isinstance(found, Paired) and found.test == "mcnemar_exact":
        smallest = minimum_detectable_effect(found.n, found.discordant, alpha=alpha)
        needed = items_needed(value, found.discordant, alpha=alpha) if value else None
    elif found.se == 0:
        units = round(found.df) + 1
        smallest = minimum_detectable_effect(units, float(value != 0), alpha=alpha)
        needed = math.ceil(_unanimous(alpha) * found.n / units) if value else None
    else:
        smallest = minimum_detectable_t(found.se, found.df, alpha=alpha)
        over_seeds = found.test == "seed_bootstrap_t"
        spread = found.se * math.sqrt(found.n)
        needed = items_needed_mean(value, spread, alpha=alpha) if value and not over_seeds else None
    return {"minimum_detectable_effect": smallest if math.isfinite(smallest) else None, "items_needed": needed}


def _unanimous(alpha: float) -> int:
    """Return how many units that all differ alike the exact sign test needs."""
    return items_needed(1.0, 1.0, alpha=alpha)
