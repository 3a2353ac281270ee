"""Recipes over seeds: with three seeds or more, what a recipe does rather than what one checkpoint did.

The seeds of a recipe under one evaluation are the cells ``name#0/evaluation``, ``name#1/evaluation``, …. Their mean is
compared with the recipe's baseline: one fixed checkpoint, such as the untrained model, or another recipe with three
seeds or more, whose seeds vary on their own. Everything is taken on the items that all of them scored.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunelab.stats import (
    Estimate,
    Interval,
    between_seed_sd,
    seed_corpus_difference,
    seed_corpus_mean,
    seed_difference,
    seed_mean,
    seeds_needed,
)
from tunelab.stats.seeds import MINIMUM_SEEDS
from tunelab.study.scored import Aligned, Cell, Scored, align, incomparable
from tunelab.study.sensitivity import sensitivity

Row = dict[str, Any]
SEED = re.compile(r"#\d+")
"""What a seed adds to a variant's name."""


@dataclass(frozen=True)
class _Recipe:
    """The cells of a recipe's seeds under one evaluation; ``declared`` counts those without a score too."""

    name: str
    evaluation: str
    cells: Sequence[Scored]
    declared: int


def recipe_of(variant: str) -> str:
    """Return a variant's name without its seed."""
    return SEED.sub("", variant)


def recipes(scored: Mapping[str, Scored], holes: Sequence[Cell], alpha: float) -> list[Row]:
    """Return a row for each recipe with three seeds or more and each evaluation, before any correction."""
    found = _recipes(scored, holes)
    return [_row(recipe, found, scored, alpha) for recipe in found.values()]


def _recipes(scored: Mapping[str, Scored], holes: Sequence[Cell]) -> dict[tuple[str, str], _Recipe]:
    groups: defaultdict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in (*(s.cell for s in scored.values()), *holes):
        if cell.get("seed") is not None and SEED.search(cell["variant"]):
            groups[recipe_of(cell["variant"]), cell["evaluation"]].append(cell)
    return {
        key: _Recipe(*key, _sound(scored[c["cell"]] for c in cells if c["cell"] in scored), len(cells))
        for key, cells in groups.items()
        if len(cells) >= MINIMUM_SEEDS
    }


def _sound(cells: Iterable[Scored]) -> list[Scored]:
    return [cell for cell in cells if not cell.error and cell.values()]


def _row(recipe: _Recipe, known: Mapping[tuple[str, str], _Recipe], scored: Mapping[str, Scored], alpha: float) -> Row:
    cells = recipe.cells
    row: Row = {"recipe": recipe.name, "evaluation": recipe.evaluation, "declared": recipe.declared}
    if len(cells) < MINIMUM_SEEDS:
        return {**row, "refused": f"{len(cells)} of its {recipe.declared} seeds have a score, expected at least 3"}
    row |= {
        "task": cells[0].cell["task"],
        "metric": cells[0].headline,
        "matched": cells[0].cell["matched"],
        "seeds": [cell.cell["seed"] for cell in cells],
        "cells": [cell.cell["cell"] for cell in cells],
    }
    if reason := _different(cells):
        return {**row, "refused": reason}
    mine = align(cells)
    if not mine.items:
        return {**row, "refused": "no item was scored with every seed"}
    row |= {**_summary(mine), "left_out": len({item for c in cells for item in c.scores}) - mine.items}
    name, others, reason = _baseline(recipe, known, scored)
    if name is None:
        return row
    reason = reason or _different([*cells, *others])
    row |= {"baseline": name, "baseline_seeds": len(others)}
    return {**row, **({"refused": reason} if reason else _difference(cells, others, alpha))}


def _different(cells: Sequence[Scored]) -> str:
    """Say why the first cell cannot be put beside another; an empty text when all can."""
    return next((reason for other in cells[1:] if (reason := incomparable(cells[0], other))), "")


def _summary(aligned: Aligned) -> Row:
    found = _mean(aligned)
    values = _values(aligned)
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "method": found.method,
        "between_seed_sd": between_seed_sd(values[:, None]),
        "lowest_seed": float(values.min()),
        "highest_seed": float(values.max()),
    }


def _mean(aligned: Aligned) -> Interval:
    if aligned.corpus is None:
        return seed_mean(aligned.values, seed=0, clusters=aligned.clusters)
    return seed_corpus_mean(aligned.corpus.parts, aligned.corpus.total, aligned.clusters)


def _values(aligned: Aligned) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return each seed's headline, shape (seeds,)."""
    if aligned.corpus is None:
        return aligned.values.mean(axis=1)
    return np.array([aligned.corpus.total(parts.sum(axis=0)) for parts in aligned.corpus.parts])


def _baseline(
    recipe: _Recipe, known: Mapping[tuple[str, str], _Recipe], scored: Mapping[str, Scored]
) -> tuple[str | None, Sequence[Scored], str]:
    """Return the baseline's name, its cells, and why there are none; no name where there is no baseline."""
    names = list(dict.fromkeys(c.cell["baseline"] for c in recipe.cells if c.cell["baseline"] is not None))
    if not names:
        return None, (), ""
    variants = [name.rpartition("/")[0] for name in names]
    name = recipe_of(variants[0])
    if len(names) == 1:
        found = _sound([scored[names[0]]] if names[0] in scored else [])
        return variants[0], found, "" if found else f"{names[0]} has no result"
    other = known.get((name, recipe.evaluation))
    cells = other.cells if other else ()
    reason = f"its baseline {name} has {len(cells)} seeds with a score, expected at least 3"
    return name, cells, "" if len(cells) >= MINIMUM_SEEDS else reason


def _difference(cells: Sequence[Scored], others: Sequence[Scored], alpha: float) -> Row:
    aligned = align([*cells, *others])
    if not aligned.items:
        return {"refused": "no item was scored on both sides"}
    seeds = len(cells)
    found = _estimate(aligned, seeds)
    spread = between_seed_sd(_values(aligned)[:seeds, None])
    return {
        "difference": found.value,
        "difference_low": found.low,
        "difference_high": found.high,
        "difference_n": found.n,
        "se": found.se,
        "p_value": found.p_value,
        "test": found.test,
        "minimum_detectable_effect": sensitivity(found, alpha)["minimum_detectable_effect"],
        "seeds_needed": _seeds_needed(found, spread, seeds, alpha) if len(others) == 1 else None,
    }


def _estimate(aligned: Aligned, seeds: int) -> Estimate:
    if aligned.corpus is None:
        return seed_difference(aligned.values[:seeds], aligned.values[seeds:], seed=0, clusters=aligned.clusters)
    parts = aligned.corpus.parts
    return seed_corpus_difference(parts[:seeds], parts[seeds:], aligned.corpus.total, aligned.clusters)


def _seeds_needed(found: Estimate, spread: float, seeds: int, alpha: float) -> int | None:
    """Return how many seeds would see what was observed; None where the items hide it, or nothing was observed."""
    if not found.value or not found.se:
        return None
    items = max(0.0, found.se**2 - spread**2 / seeds) ** 0.5
    return seeds_needed(found.value, spread, items, alpha=alpha)
