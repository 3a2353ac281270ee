"""A cell with its scores, and cells side by side: one row a cell, one column an item that all of them scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tunelab.errors import counted
from tunelab.scoring.aggregate import cluster_codes, item_parts, item_values
from tunelab.scoring.score import Metric, Score, Total
from tunelab.stats import Estimate, Paired, paired_corpus_difference, paired_difference

Cell = Mapping[str, Any]
"""A cell as ``cells.describe_cell`` writes it."""


@dataclass(frozen=True)
class Answer:
    """The right choice and the one that was taken; None where an output takes none."""

    gold: str
    taken: str | None


@dataclass(frozen=True)
class Scored:
    """A cell with its scores by item, its summary and the identity of its scorer."""

    cell: Cell
    scores: Mapping[str, Sequence[Score]]
    summary: Mapping[str, Any]
    scorer: str
    clusters: Mapping[str, str] = field(default_factory=dict[str, str])
    """Item to what it shares with other items: a passage, a question in two languages. Others stand alone."""
    metric: Metric = field(default_factory=lambda: Metric(""))
    """The task's first metric."""
    groups: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    """By what items are grouped, to each item's group; every item has one."""
    answers: Sequence[Answer] = ()
    """What was answered to questions with choices; empty for other tasks."""

    @property
    def error(self) -> str:
        """Why the scores may not be used: their n is not what it had to be. Empty where they may."""
        return self.summary.get("error", "")

    @property
    def headline(self) -> str:
        """Name of the task's first metric."""
        return next(iter(self.summary["metrics"]))

    def values(self) -> dict[str, float]:
        """Each scored item's headline value."""
        return item_values(self.scores, self.headline)

    def within(self, by: str, group: str) -> Scored:
        """Return the cell with the items of one group only."""
        of = self.groups[by]
        return replace(self, scores={item: found for item, found in self.scores.items() if of[item] == group})


@dataclass(frozen=True)
class Corpus:
    """A corpus metric: ``parts`` has shape (cells, items, parts), ``total`` makes a value of their sum over items."""

    parts: npt.NDArray[np.float64]
    total: Total


@dataclass(frozen=True)
class Aligned:
    """Cells on the items that all of them scored. ``values`` has shape (cells, items), ``clusters`` (items,)."""

    values: npt.NDArray[np.float64]
    clusters: npt.NDArray[np.intp] | None
    """None where no two items share a cluster."""
    corpus: Corpus | None
    """What stands in for the values, which are then for readers only, when the headline is a corpus metric."""

    @property
    def items(self) -> int:
        """Number of shared items."""
        return self.values.shape[1]


def incomparable(one: Scored, other: Scored) -> str:
    """Say why two cells may not be compared; an empty text when they may."""
    for side in (one, other):
        if side.error:
            return f"{side.cell['cell']}: {side.error}"
    if one.cell["task"] != other.cell["task"]:
        return f"the two are of different tasks: {one.cell['task']}, {other.cell['task']}"
    ways = [s.cell.get("by", "generate") for s in (one, other)]
    if ways[0] != ways[1]:
        return f"the two answer in different ways: by {ways[0]}, by {ways[1]}"
    if one.scorer != other.scorer:
        return "the two were scored by different scorers"
    alone = [sorted(set(a.scores) - set(b.scores)) for a, b in ((one, other), (other, one))]
    if missing := alone[0] + alone[1]:
        which = " and ".join(
            f"{counted(names)} in {s.cell['cell']}" for s, names in zip((one, other), alone, strict=True)
        )
        return f"the two were asked different samples ({len(missing)} of them are in one only: {which})"
    return ""


def align(cells: Sequence[Scored]) -> Aligned:
    """Put cells that were asked the same samples and scored alike side by side; there may be no shared item."""
    found = [cell.values() for cell in cells]
    shared = sorted(set[str].intersection(*(set(values) for values in found)))
    table = np.array([[values[i] for i in shared] for values in found], dtype=np.float64)
    known = {item: name for cell in cells for item, name in cell.clusters.items()}
    return Aligned(table.reshape(len(cells), len(shared)), cluster_codes(shared, known), _corpus(cells, shared))


def _corpus(cells: Sequence[Scored], items: Sequence[str]) -> Corpus | None:
    total = cells[0].metric.total
    if total is None or not items:
        return None
    parts = [item_parts(cell.scores, cell.headline) for cell in cells]
    return Corpus(np.array([[found[i] for i in items] for found in parts], dtype=np.float64), total)


def headline_difference(aligned: Aligned) -> Paired | Estimate:
    """Return the first cell's headline minus the second's, on the items that both scored."""
    if aligned.corpus is None:
        return paired_difference(aligned.values[0], aligned.values[1], aligned.clusters)
    first, second = aligned.corpus.parts
    return paired_corpus_difference(first, second, aligned.corpus.total, aligned.clusters)


def size_of(found: Paired | Estimate) -> float:
    """Return the difference itself."""
    return found.difference if isinstance(found, Paired) else found.value
