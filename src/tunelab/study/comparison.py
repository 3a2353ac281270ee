"""The comparison: scored cells in, statements with uncertainty out.

Pairs are made by sample id. Cells that were asked different samples, or scored by different scorers, are not
compared: the reason stands where the number would. Items that one side could not score are left out of the
pair and counted; items that share a cluster count as one piece of evidence. A corpus metric is compared as a whole,
by a bootstrap that draws the same items of both. Holm's correction runs over the
declared family: every variant against its baseline and every contrast that the study declares, per task. Recipes over
seeds are a family of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tunelab.stats import Interval, Paired, holm, paired_difference, threshold, verdict
from tunelab.study.averages import Averaged, averages
from tunelab.study.crossing import factor_effects, interactions
from tunelab.study.grouped import changes_by_group, confusion, groups_side_by_side, groups_with_shrunken
from tunelab.study.noise import noise_floor
from tunelab.study.recipes import recipes
from tunelab.study.scored import Cell, Scored, align, headline_difference, incomparable, size_of
from tunelab.study.sensitivity import sensitivity

Row = dict[str, Any]


def compare(
    scored: Mapping[str, Scored],
    alpha: float,
    averaged: Averaged | None = None,
    holes: Sequence[Cell] = (),
    contrasts: Sequence[tuple[str, str, Sequence[str]]] = (),
) -> dict[str, Any]:
    """Return the comparison of a study as plain JSON: cells, comparisons, effects, averages over a tree of tasks.

    ``holes`` are the cells that were asked for and have no score; ``contrasts`` are further pairs of cells by name,
    with all that the two differ in.
    """
    comparisons = [
        difference(s, scored[s.cell["baseline"]], alpha) for s in scored.values() if s.cell["baseline"] in scored
    ]
    tasks = {cell["cell"]: cell["task"] for cell in (*holes, *(s.cell for s in scored.values()))}
    declared = [
        {**difference(scored[one], scored[other], alpha), "differ_in": differ_in}
        if one in scored and other in scored
        else {"cell": one, "baseline": other, "task": tasks[one], "refused": _no_result((one, other), scored)}
        for one, other, differ_in in contrasts
    ]
    adjust([*comparisons, *declared], alpha)
    over_seeds = recipes(scored, holes, alpha)
    adjust(over_seeds, alpha)
    sound = {name: s for name, s in scored.items() if not s.error}
    without = [*holes, *(s.cell for s in scored.values() if s.error)]
    return {
        "alpha": alpha,
        "cells": [{**s.cell, "headline": s.headline, **s.summary, **groups_with_shrunken(s)} for s in scored.values()],
        "comparisons": comparisons,
        "effects": factor_effects(sound.values(), alpha),
        "interactions": interactions(sound.values()),
        "contrasts": declared,
        "recipes": over_seeds,
        "noise": noise_floor(scored),
        "group_changes": _by_group(comparisons, scored, alpha),
        "group_contrasts": _by_group(declared, scored, alpha),
        "group_pairs": [line for s in sound.values() for line in groups_side_by_side(s, alpha)],
        "confusions": [confusion(s) for s in sound.values() if s.answers],
        "tree": averages(sound, averaged, alpha, without) if averaged else [],
        "task_weights": dict(averaged.weights) if averaged else {},
        "thresholds": [
            *(row for s in scored.values() for row in _thresholds(s.cell, s.summary)),
            *(row for cell in holes for row in _thresholds(cell, {"metrics": {}})),
        ],
    }


def _no_result(pair: Sequence[str], scored: Mapping[str, Scored]) -> str:
    return f"{next(cell for cell in pair if cell not in scored)} has no result"


def _by_group(rows: Sequence[Row], scored: Mapping[str, Scored], alpha: float) -> list[Row]:
    sound = [(scored[row["cell"]], scored[row["baseline"]]) for row in rows if "refused" not in row]
    return [line for one, other in sound for line in changes_by_group(one, other, alpha)]


def difference(one: Scored, baseline: Scored, alpha: float) -> Row:
    """Return the first cell minus the other on the items that both scored, or why the two are not compared."""
    row: Row = {
        "cell": one.cell["cell"],
        "baseline": baseline.cell["cell"],
        "task": one.cell["task"],
        "metric": one.headline,
        "matched": one.cell["matched"],
    }
    if reason := incomparable(one, baseline):
        return {**row, "refused": reason}
    aligned = align([one, baseline])
    if not aligned.items:
        return {**row, "refused": "no item was scored on both sides"}
    variant, other = aligned.values
    found = headline_difference(aligned)
    paired = found if isinstance(found, Paired) else paired_difference(variant, other, aligned.clusters)
    return {
        **row,
        "difference": size_of(found),
        "low": found.low,
        "high": found.high,
        "se": found.se,
        "p_value": found.p_value,
        "test": found.test,
        "n": found.n,
        "clusters": None if aligned.clusters is None else int(aligned.clusters.max()) + 1,
        "left_out": len(set(one.scores)) - found.n,
        "only_variant_right": paired.b,
        "only_baseline_right": paired.c,
        "discordant": paired.discordant,
        **sensitivity(found, alpha),
    }


def adjust(comparisons: Sequence[Row], alpha: float) -> None:
    """Add adjusted p-values and verdicts, one Holm family a task."""
    families: defaultdict[str, list[Row]] = defaultdict(list)
    for row in comparisons:
        if "p_value" in row:
            families[row["task"]].append(row)
    for rows in families.values():
        for row, p in zip(rows, holm([r["p_value"] for r in rows]), strict=True):
            row["p_adjusted"] = float(p)
            row["verdict"] = verdict(row["difference"], float(p), alpha).value


def _thresholds(cell: Cell, summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Judge each minimum; without a value, as in a hole or where n is wrong, the verdict is ``missing``."""
    rows: list[dict[str, Any]] = []
    for metric, at_least in cell.get("at_least", {}).items():
        found = summary["metrics"].get(metric)
        row: dict[str, Any] = {"cell": cell["cell"], "metric": metric, "at_least": at_least}
        if found is None or found["value"] is None:
            rows.append({**row, "verdict": "missing"})
            continue
        reach = {bound: found[bound] for bound in ("value", "low", "high")}
        interval = Interval(**reach, n=found["n"], method=found["method"])
        rows.append({**row, **reach, "verdict": threshold(interval, at_least).value})
    return rows
