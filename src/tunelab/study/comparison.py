"""The comparison: scored cells in, statements with uncertainty out.

Pairs are made by sample id. Cells that were asked different samples, or scored by different scorers, are not
compared: the reason stands where the number would. Items that one side could not score are left out of the
pair and counted; items that share a cluster count as one piece of evidence. Holm's correction runs over the
declared family: every variant against its baseline, per task.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from tunelab.stats import Interval, holm, paired_difference, threshold, verdict
from tunelab.study.crossing import factor_effects, interactions
from tunelab.study.scored import Scored, align
from tunelab.study.sensitivity import sensitivity


def compare(scored: Mapping[str, Scored], alpha: float) -> dict[str, Any]:
    """Return the comparison of a study as plain JSON: cells, comparisons, effects, interactions and thresholds."""
    comparisons = [
        _against_baseline(s, scored[s.cell["baseline"]], alpha) for s in scored.values() if s.cell["baseline"] in scored
    ]
    _adjust(comparisons, alpha)
    return {
        "alpha": alpha,
        "cells": [{**s.cell, "headline": s.headline, **s.summary} for s in scored.values()],
        "comparisons": comparisons,
        "effects": factor_effects(scored.values(), alpha),
        "interactions": interactions(scored.values()),
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
    aligned = align([one, baseline])
    if not aligned.items:
        return {**row, "refused": "no item was scored on both sides"}
    variant, other = aligned.values
    paired = paired_difference(variant, other, aligned.clusters)
    return {
        **row,
        "difference": paired.difference,
        "low": paired.low,
        "high": paired.high,
        "p_value": paired.p_value,
        "test": paired.test,
        "n": paired.n,
        "clusters": None if aligned.clusters is None else int(aligned.clusters.max()) + 1,
        "left_out": len(set(one.scores)) - paired.n,
        "only_variant_right": paired.b,
        "only_baseline_right": paired.c,
        "discordant": paired.discordant,
        **sensitivity(paired, alpha),
    }


def _incomparable(one: Scored, other: Scored) -> str:
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
