"""The comparison: scored cells in, statements with uncertainty out.

Pairs are made by sample id. Cells that were asked different samples, or scored by different scorers, are not
compared: the reason stands where the number would. Items that one side could not score are left out of the
pair and counted. Holm's correction runs over the declared family: every variant against its baseline, per task.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunelab.canonical import canonical
from tunelab.scoring.aggregate import item_values
from tunelab.scoring.score import Score
from tunelab.stats import (
    Interval,
    Verdict,
    contrast,
    holm,
    minimum_detectable_effect,
    minimum_detectable_mean,
    paired_difference,
    threshold,
    verdict,
)
from tunelab.study.effects import effects

SIGNS = {Verdict.BETTER: "positive", Verdict.WORSE: "negative", Verdict.UNDECIDED: "undecided"}

Cell = Mapping[str, Any]
"""A cell as ``compile.describe_cell`` writes it."""


@dataclass(frozen=True)
class Scored:
    """A cell with its scores by item, its summary and the identity of its scorer."""

    cell: Cell
    scores: Mapping[str, Sequence[Score]]
    summary: Mapping[str, Any]
    scorer: str

    @property
    def headline(self) -> str:
        """Name of the task's first metric."""
        return next(iter(self.summary["metrics"]))

    def values(self) -> dict[str, float]:
        """Each scored item's headline value."""
        return item_values(self.scores, self.headline)


def compare(scored: Mapping[str, Scored], alpha: float) -> dict[str, Any]:
    """Return the comparison of a study as plain JSON: cells, comparisons, effects and thresholds."""
    comparisons = [
        _against_baseline(s, scored[s.cell["baseline"]], alpha) for s in scored.values() if s.cell["baseline"] in scored
    ]
    _adjust(comparisons, alpha)
    return {
        "alpha": alpha,
        "cells": [{**s.cell, "headline": s.headline, **s.summary} for s in scored.values()],
        "comparisons": comparisons,
        "effects": _effects(scored, alpha),
        "thresholds": [row for s in scored.values() for row in _thresholds(s)],
    }


def _against_baseline(one: Scored, baseline: Scored, alpha: float) -> dict[str, Any]:
    row: dict[str, Any] = {
        "cell": one.cell["cell"],
        "baseline": baseline.cell["cell"],
        "task": one.cell["task"],
        "metric": one.headline,
        "matched": one.cell["matched"],
    }
    if reason := _incomparable(one, baseline):
        return {**row, "refused": reason}
    first, second = one.values(), baseline.values()
    shared = sorted(set(first) & set(second))
    if not shared:
        return {**row, "refused": "no item was scored on both sides"}
    a, b = np.array([first[i] for i in shared]), np.array([second[i] for i in shared])
    paired = paired_difference(a, b)
    binary = paired.test == "mcnemar_exact"
    spread = float(np.std(a - b, ddof=1)) if len(shared) > 1 else 0.0
    smallest = (
        minimum_detectable_effect(paired.n, paired.discordant, alpha=alpha)
        if binary or spread == 0
        else minimum_detectable_mean(spread, paired.n, alpha=alpha)
    )
    return {
        **row,
        "difference": paired.difference,
        "low": paired.low,
        "high": paired.high,
        "p_value": paired.p_value,
        "test": paired.test,
        "n": paired.n,
        "left_out": len(set(one.scores)) - len(shared),
        "only_variant_right": paired.b,
        "only_baseline_right": paired.c,
        "discordant": paired.discordant,
        "minimum_detectable_effect": smallest,
    }


def _incomparable(one: Scored, other: Scored) -> str:
    ways = [s.cell.get("by", "generate") for s in (one, other)]
    if ways[0] != ways[1]:
        return f"the two answer in different ways: by {ways[0]}, by {ways[1]}"
    if one.scorer != other.scorer:
        return "the two were scored by different scorers"
    missing = set(one.scores) ^ set(other.scores)
    if missing:
        return f"the two were asked different samples ({len(missing)} of them are in one only)"
    return ""


def _adjust(comparisons: list[dict[str, Any]], alpha: float) -> None:
    """Add adjusted p-values and verdicts, one Holm family a task."""
    families: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in comparisons:
        if "refused" not in row:
            families[row["task"]].append(row)
    for rows in families.values():
        for row, p in zip(rows, holm([r["p_value"] for r in rows]), strict=True):
            row["p_adjusted"] = float(p)
            row["verdict"] = verdict(row["difference"], float(p), alpha).value


def _effects(scored: Mapping[str, Scored], alpha: float) -> list[dict[str, Any]]:
    """Factor effects over the trained cells of each task, with Holm's correction within the task."""
    groups: defaultdict[tuple[str, str, frozenset[str]], list[Scored]] = defaultdict(list)
    for s in scored.values():
        if s.cell["factors"]["method"] is not None:
            groups[s.cell["task"], s.scorer, frozenset(s.scores)].append(s)
    rows = [row for (task, _, _), group in groups.items() for row in _group_effects(task, group)]
    families: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        families[row["task"]].append(row)
    for family in families.values():
        for row, p in zip(family, holm([r["p_value"] for r in family]), strict=True):
            row["p_adjusted"] = float(p)
            row["verdict"] = SIGNS[verdict(row["value"], float(p), alpha)]
    return rows


def _group_effects(task: str, group: Sequence[Scored]) -> list[dict[str, Any]]:
    """Effects among cells that were asked the same samples and scored alike."""
    values = [s.values() for s in group]
    shared = sorted(set[str].intersection(*(set(v) for v in values)))
    if not shared:
        return []
    table = np.array([[v[i] for i in shared] for v in values])
    rows: list[dict[str, Any]] = []
    for effect in effects([_factors(s.cell) for s in group]):
        found = contrast(table, effect.weights)
        rows.append(
            {
                "task": task,
                "effect": effect.name,
                "factors": list(effect.factors),
                "meaning": effect.meaning,
                "cells": int(np.count_nonzero(effect.weights)),
                "value": found.value,
                "low": found.low,
                "high": found.high,
                "p_value": found.p_value,
                "n": found.n,
            }
        )
    return rows


def _factors(cell: Cell) -> dict[str, str | None]:
    return {**cell["factors"], "seed": str(cell["seed"]), "others": canonical(cell["others"])}


def _thresholds(one: Scored) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for metric, at_least in one.cell["at_least"].items():
        found = one.summary["metrics"].get(metric)
        row: dict[str, Any] = {"cell": one.cell["cell"], "metric": metric, "at_least": at_least}
        if found is None or found["value"] is None:
            rows.append({**row, "verdict": "missing"})
            continue
        interval = Interval(found["value"], found["low"], found["high"], one.summary["scored"], found["method"])
        rows.append({**row, "value": found["value"], "verdict": threshold(interval, at_least).value})
    return rows
