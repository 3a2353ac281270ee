"""How many items or seeds would show an effect, and how small an effect so many show.

Everything is in points here: an effect of 2 is 0.02 of an accuracy. A finished study lends its comparisons' observed
discordance or spread and its recipes' spread between seeds; these are estimates too, and a lucky study's are too small.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tunelab.stats import (
    items_needed,
    items_needed_mean,
    mcnemar_power,
    minimum_detectable_effect,
    minimum_detectable_mean,
    minimum_detectable_with_seeds,
    seeds_needed,
)

Row = dict[str, Any]
POINTS = 100


@dataclass(frozen=True)
class Design:
    """What is known of a comparison before it is made; effects and standard deviations are in points.

    Scores are right or wrong unless ``sd``, of the paired differences of graded ones, is given.
    """

    effect: float | None = None
    n: int | None = None
    discordance: float = 0.1
    sd: float | None = None
    seed_sd: float | None = None
    seeds: int | None = None
    power: float = 0.8
    alpha: float = 0.05


def foresee(design: Design) -> Row:
    """Return ``items`` and, with a spread between seeds, ``seeds``: what is needed and what is seen.

    Raises ValueError for an effect of 0 and for numbers that are no shares, counts or spreads.
    """
    found: Row = {"items": _items(design)}
    return found if design.seed_sd is None else {**found, "seeds": _seeds(design, design.seed_sd)}


def _items(design: Design) -> Row:
    rules = {"power": design.power, "alpha": design.alpha}
    row: Row = {"n": design.n, "needed": None, "sees": None, "power": None}
    if design.effect is not None and design.sd is None:
        row["needed"] = items_needed(design.effect / POINTS, design.discordance, **rules)
        row["power"] = mcnemar_power(
            abs(design.effect) / POINTS, design.n or row["needed"], design.discordance, design.alpha
        )
    elif design.effect is not None and design.sd is not None:
        row["needed"] = items_needed_mean(design.effect, design.sd, **rules)
    if design.n is not None:
        row["sees"] = _seen(design, design.n)
    return row


def _seen(design: Design, n: int) -> float | None:
    """Return the smallest difference that n items show, in points; None where they can show none."""
    rules = {"power": design.power, "alpha": design.alpha}
    if design.sd is not None:
        return minimum_detectable_mean(design.sd, n, **rules)
    smallest = minimum_detectable_effect(n, design.discordance, **rules)
    return POINTS * smallest if math.isfinite(smallest) else None


def _seeds(design: Design, seed_sd: float) -> Row:
    """Over the items of ``n``, or without their error where there is no n."""
    rules = {"power": design.power, "alpha": design.alpha}
    spread = POINTS * math.sqrt(design.discordance) if design.sd is None else design.sd
    error = spread / math.sqrt(design.n) if design.n else 0.0
    row: Row = {"seeds": design.seeds, "sd": seed_sd, "n": design.n, "needed": None, "sees": None}
    if design.effect is not None:
        row["needed"] = seeds_needed(design.effect, seed_sd, error, **rules)
    if design.seeds is not None:
        row["sees"] = minimum_detectable_with_seeds(design.seeds, seed_sd, error, **rules)
    return row


def of_study(comparison: Mapping[str, Any], design: Design) -> list[Row]:
    """Return what ``foresee`` says of each comparison, contrast and recipe of a finished study, by what was observed.

    Its own n and seeds stand where the design has none. A comparison in which nothing differed is left out: it shows no
    spread to plan with.
    """
    compared = [row for kind in ("comparisons", "contrasts") for row in comparison[kind] if row.get("discordant")]
    rows = [{"name": f"{row['cell']} - {row['baseline']}", **_observed(row, design)} for row in compared]
    return rows + [
        {"name": f"{row['recipe']}/{row['evaluation']} - {row['baseline']}", **_observed_seeds(row, design)}
        for row in comparison.get("recipes", [])
        if "verdict" in row
    ]


def _observed(row: Mapping[str, Any], design: Design) -> Row:
    """A clustered or corpus comparison's spread is its standard error over as many items."""
    own = replace(design, n=design.n or row["n"], seed_sd=None)
    if row["test"] == "mcnemar_exact":
        known: Row = {"discordance": row["discordant"]}
    else:
        known = {"sd": POINTS * row["se"] * math.sqrt(row["n"])}
    return {**known, **foresee(replace(own, **known))}


def _observed_seeds(row: Mapping[str, Any], design: Design) -> Row:
    seeds, spread = len(row["seeds"]), row["between_seed_sd"]
    items = POINTS * math.sqrt(max(0.0, row["se"] ** 2 - spread**2 / seeds) * row["difference_n"])
    n = design.n or row["difference_n"]
    own = replace(design, n=n, sd=items, seed_sd=POINTS * spread, seeds=design.seeds or seeds)
    return {"seeds": foresee(own)["seeds"]}
