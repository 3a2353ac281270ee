"""Averages over the tree of tasks: what a group of tasks says of a variant, with an interval that respects its leaves.

A node's score is the plain mean of its tasks' scores, each as a fraction of its scale; a task that is evaluated in
several ways (matched and mismatched) counts once, with their mean. Differences from the baseline are averaged the
same way, from paired differences task by task. A study may weigh its tasks: then a node's score is what a mixture of
its tasks by these weights would score, from all items of each task instead of a sample of them. A node that lacks a
score below it has none: an average over fewer tasks would be another quantity. Cells in different evaluation formats
are averaged apart, and so are a task's cells that choose and those that write.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tunelab.stats import corpus_mean, holm, macro_mean, verdict
from tunelab.stats.means import Mean, clustered_mean, mean_bounds, p_against_zero
from tunelab.study.scored import Aligned, Cell, Scored, align, headline_difference, size_of
from tunelab.study.tree import Tree, places

Row = dict[str, Any]


@dataclass(frozen=True)
class Averaged:
    """Over which groups of tasks averages are made, and the weight of each task; all alike where there are none."""

    tree: Tree
    weights: Mapping[str, float] = field(default_factory=dict[str, float])

    def __bool__(self) -> bool:
        return bool(self.tree)

    def shares(self, tasks: Sequence[str]) -> list[float]:
        """Return what each of some tasks counts for in their average, 1 in all."""
        weights = [self.weights.get(task, 1.0) for task in tasks]
        return [weight / sum(weights) for weight in weights]


SHARE, DIFFERENCE = (0.0, 1.0), (-1.0, 1.0)


def averages(scored: Mapping[str, Scored], averaged: Averaged, alpha: float, holes: Sequence[Cell] = ()) -> list[Row]:
    """Return a row for every node and leaf of the tree, variant and evaluation format, roots first.

    Values are fractions of 1. ``missing`` lists the tasks that lack a score under any of their evaluations; then there
    is no value. ``verdict`` is against the baseline, with Holm's correction over the variants of a node. ``holes`` are
    the cells without a score.
    """
    groups: defaultdict[tuple[str, str], list[Scored]] = defaultdict(list)
    for cell in scored.values():
        groups[cell.cell["variant"], cell.cell["factors"]["eval_format"]].append(cell)
    groups = _parted_by_way(groups)
    wanted = [*places(averaged.tree)]
    lost = {(hole["variant"], hole["task"]) for hole in holes}
    rows = [
        {
            "node": list(path),
            "tasks": list(tasks),
            "variant": variant,
            "eval_format": fmt,
            **_node(tasks, averaged.shares(tasks), [c for c in cells if (variant, c.cell["task"]) not in lost], scored),
        }
        for path, tasks in wanted
        for (variant, fmt), cells in groups.items()
    ]
    for path, _ in wanted:
        _judge([row for row in rows if row["node"] == list(path) and "difference" in row], alpha)
    return rows


def _parted_by_way(groups: Mapping[tuple[str, str], Sequence[Scored]]) -> defaultdict[tuple[str, str], list[Scored]]:
    """Part a group in which a task is answered in several ways: a choice and a text are no two halves of a score."""
    parted: defaultdict[tuple[str, str], list[Scored]] = defaultdict(list)
    for (variant, fmt), cells in groups.items():
        ways: defaultdict[str, set[str]] = defaultdict(set)
        for cell in cells:
            ways[cell.cell["task"]].add(cell.cell["by"])
        several = sorted(set[str]().union(*(found for found in ways.values() if len(found) > 1)))
        for way in several or [""]:
            kept = [c for c in cells if not way or len(ways[c.cell["task"]]) == 1 or c.cell["by"] == way]
            parted[variant, f"{fmt}, {way}" if way else fmt] += kept
    return parted


def _node(tasks: Sequence[str], shares: Sequence[float], cells: Sequence[Scored], scored: Mapping[str, Scored]) -> Row:
    """Return a variant's average over some tasks, and its difference from the baseline where there is one."""
    by_task = {task: [cell for cell in cells if cell.cell["task"] == task] for task in tasks}
    missing = [task for task, found in by_task.items() if not found or not all(align([cell]).items for cell in found)]
    if missing:
        return {"missing": missing}
    row = _rounded(_macro(by_task, shares, _score), SHARE, "value")
    compared = {task: [cell for cell in found if _comparable(cell, scored)] for task, found in by_task.items()}
    if all(len(found) == len(by_task[task]) for task, found in compared.items()):
        found = _macro(compared, shares, lambda cell: _difference(cell, scored[cell.cell["baseline"]]))
        row |= {**_rounded(found, DIFFERENCE, "difference", "difference_"), "p_value": p_against_zero(found)}
    return row


def _comparable(cell: Scored, scored: Mapping[str, Scored]) -> bool:
    baseline = scored.get(cell.cell["baseline"])
    if baseline is None or baseline.scorer != cell.scorer or set(baseline.scores) != set(cell.scores):
        return False
    return align([cell, baseline]).items > 0


def _macro(
    by_task: Mapping[str, Sequence[Scored]], shares: Sequence[float], estimate: Callable[[Scored], Mean]
) -> Mean:
    return macro_mean([macro_mean([estimate(cell) for cell in cells]) for cells in by_task.values()], shares)


def _score(cell: Scored) -> Mean:
    """Return a cell's headline as a fraction of its scale, with its standard error."""
    aligned = align([cell])
    if corpus := aligned.corpus:
        found = corpus_mean(corpus.parts, corpus.total, aligned.clusters)
        units = _units(aligned)
        return _scaled(Mean(found.value, found.se or 0.0, units - 1, units), cell)
    [values] = aligned.values
    return _scaled(clustered_mean(values, aligned.clusters, float(np.abs(values).max())), cell)


def _difference(cell: Scored, baseline: Scored) -> Mean:
    aligned = align([cell, baseline])
    found = headline_difference(aligned)
    return _scaled(Mean(size_of(found), found.se, found.df, _units(aligned)), cell)


def _units(aligned: Aligned) -> int:
    return aligned.items if aligned.clusters is None else int(aligned.clusters.max()) + 1


def _scaled(mean: Mean, cell: Scored) -> Mean:
    return Mean(mean.value / cell.metric.scale, mean.se / cell.metric.scale, mean.df, mean.units)


def _rounded(mean: Mean, span: tuple[float, float], name: str, prefix: str = "") -> Row:
    low, high = mean_bounds(mean, span, confidence=0.95)
    return {name: mean.value, f"{prefix}low": low, f"{prefix}high": high}


def _judge(rows: Sequence[Row], alpha: float) -> None:
    if not rows:
        return
    for row, p in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        row["p_adjusted"] = float(p)
        row["verdict"] = verdict(row["difference"], float(p), alpha).value
