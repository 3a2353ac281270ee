"""A cell with its scores, and cells side by side: one row a cell, one column an item that all of them scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tunelab.scoring.aggregate import item_values
from tunelab.scoring.score import Score

Cell = Mapping[str, Any]
"""A cell as ``cells.describe_cell`` writes it."""


@dataclass(frozen=True)
class Scored:
    """A cell with its scores by item, its summary and the identity of its scorer."""

    cell: Cell
    scores: Mapping[str, Sequence[Score]]
    summary: Mapping[str, Any]
    scorer: str
    clusters: Mapping[str, str] = field(default_factory=dict[str, str])
    """Item to what it shares with other items: a passage, a question in two languages. Others stand alone."""

    @property
    def headline(self) -> str:
        """Name of the task's first metric."""
        return next(iter(self.summary["metrics"]))

    def values(self) -> dict[str, float]:
        """Each scored item's headline value."""
        return item_values(self.scores, self.headline)


@dataclass(frozen=True)
class Aligned:
    """Cells on the items that all of them scored. ``values`` has shape (cells, items), ``clusters`` (items,)."""

    values: npt.NDArray[np.float64]
    clusters: npt.NDArray[np.intp] | None
    """None where no two items share a cluster."""

    @property
    def items(self) -> int:
        """Number of shared items."""
        return self.values.shape[1]


def align(cells: Sequence[Scored]) -> Aligned:
    """Put cells that were asked the same samples side by side; there may be no shared item."""
    found = [cell.values() for cell in cells]
    shared = sorted(set[str].intersection(*(set(values) for values in found)))
    table = np.array([[values[i] for i in shared] for values in found], dtype=np.float64)
    known = {item: name for cell in cells for item, name in cell.clusters.items()}
    return Aligned(table.reshape(len(cells), len(shared)), _codes(shared, known))


def _codes(items: Sequence[str], clusters: Mapping[str, str]) -> npt.NDArray[np.intp] | None:
    """Number the clusters of items; a cluster that is called like an item is still another one."""
    numbers: dict[tuple[bool, str], int] = {}
    keys = [(True, clusters[item]) if item in clusters else (False, item) for item in items]
    codes = [numbers.setdefault(key, len(numbers)) for key in keys]
    return None if len(numbers) == len(items) else np.array(codes, dtype=np.intp)
