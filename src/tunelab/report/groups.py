"""Results within groups of items (hazards, subjects): a table and a figure per grouping, and one CSV of all.

What a task groups by stands in its summary, so this shows whatever is there and nothing where there is none. Groups
are small: a difference between two of them is seldom more than their intervals allow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from tunelab.files import to_csv
from tunelab.report.cells import metric_names
from tunelab.report.drawing import COLOURS, GRID, MARKERS, Picture, errors, label, legend, new_figure
from tunelab.report.evidence import Cell, Evidence
from tunelab.report.tables import Table
from tunelab.report.wording import interval, number

MOST = 20
"""Groups that a figure shows; the table has all."""
NOT_IN_NAMES = re.compile(r"[^\w.-]+", re.ASCII)
APART = 0.7
"""Share of a group's line over which its cells are spread."""


def groupings(cells: Sequence[Cell]) -> dict[tuple[str, str], list[Cell]]:
    """Map each task and what its items are grouped by to the cells that have such groups."""
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        for name in cell.get("groups", {}):
            found.setdefault((cell["task"], name), []).append(cell)
    return found


def tables(evidence: Evidence) -> list[Table]:
    """Return, per grouping, its groups by cells: the headline with its interval and the number of scored items."""
    return [_table(*key, cells) for key, cells in groupings(evidence.scored).items()]


def _table(task: str, name: str, cells: Sequence[Cell]) -> Table:
    rows = [[value, *(_estimate(cell, name, value) for cell in cells)] for value in values(name, cells)]
    caption = f"{task}: {cells[0]['headline']} by {name}, with 95 % intervals"
    return Table(caption, (name, *(cell["cell"] for cell in cells)), rows)


def _estimate(cell: Cell, name: str, value: str) -> str | None:
    group = cell["groups"][name].get(value)
    if group is None:
        return None
    found = group["metrics"][cell["headline"]]
    of = "" if group["scored"] == group["n"] else f" of {group['n']:,}"
    return f"{number(found['value'])} {interval(found)}, n = {group['scored']:,}{of}"


def values(name: str, cells: Sequence[Cell]) -> list[str]:
    """Return every group that any of the cells has, sorted."""
    return sorted({value for cell in cells for value in cell["groups"][name]})


def groups_csv(evidence: Evidence) -> str:
    """Return a row per cell and group, with every digit of ``comparison.json``; empty where nothing is grouped."""
    metrics = _grouped_metrics(evidence.scored)
    return to_csv(
        [
            {
                **{key: cell[key] for key in ("task", "variant", "evaluation")},
                "by": name,
                "group": value,
                **{key: cell["groups"][name][value][key] for key in ("n", "scored")},
                **_bounds(cell["groups"][name][value]["metrics"], metrics),
            }
            for (_, name), cells in groupings(evidence.scored).items()
            for cell in cells
            for value in sorted(cell["groups"][name])
        ]
    )


def _grouped_metrics(cells: Sequence[Cell]) -> list[str]:
    groups = [group for cell in cells for by in cell.get("groups", {}).values() for group in by.values()]
    return metric_names(groups)


def _bounds(found: Mapping[str, Any], metrics: Sequence[str]) -> dict[str, Any]:
    return {f"{m}_{bound}": found.get(m, {}).get(bound) for m in metrics for bound in ("value", "low", "high")}


def pictures(cells: Sequence[Cell]) -> list[Picture]:
    """Draw each grouping that has a score: a line per group, a dot with its interval per cell."""
    scored = [cell for cell in cells if cell["metrics"][cell["headline"]]["value"] is not None]
    return [_picture(task, name, found) for (task, name), found in groupings(scored).items()]


def _picture(task: str, name: str, cells: Sequence[Cell]) -> Picture:
    every = values(name, cells)
    shown = sorted(sorted(every, key=lambda value: -_items(name, value, cells))[:MOST])
    figure, [axes] = new_figure(9, 1.2 + len(shown) * max(0.32, 0.13 * len(cells)))
    for place, cell in enumerate(cells):
        _dots(axes, cell, name, shown, place, len(cells))
    axes.set_yticks(range(len(shown)), [label(value) for value in shown])
    axes.invert_yaxis()
    axes.set_xlabel(label(f"{task}: {cells[0]['headline']}"))
    axes.grid(axis="x", color=GRID)
    legend(axes)
    note = f"The {MOST} largest of {len(every)} groups; the table has all." if len(every) > len(shown) else ""
    return Picture(
        NOT_IN_NAMES.sub("-", f"by_{name}_{task}"), f"{task} by {name}", _in_words(name, cells, shown), figure, note
    )


def _items(name: str, value: str, cells: Sequence[Cell]) -> int:
    return max(cell["groups"][name][value]["n"] for cell in cells if value in cell["groups"][name])


def _dots(axes: Axes, cell: Cell, name: str, shown: Sequence[str], place: int, of: int) -> None:
    found = {value: _headline(cell, name, value) for value in shown}
    scored = {value: row for value, row in found.items() if row is not None}
    heights = [shown.index(value) + (place - (of - 1) / 2) * APART / of for value in scored]
    axes.errorbar(
        [row["value"] for row in scored.values()],
        heights,
        xerr=errors(list(scored.values())),
        fmt=MARKERS[place % len(MARKERS)],
        color=COLOURS[place % len(COLOURS)],
        label=label(cell["cell"]),
        markersize=5,
        elinewidth=1.2,
    )


def _headline(cell: Cell, name: str, value: str) -> Mapping[str, Any] | None:
    """Return the headline of a group; None where a cell has no such group, or no score in it."""
    group = cell["groups"][name].get(value)
    found = group["metrics"][cell["headline"]] if group else None
    return found if found and found["value"] is not None else None


def _in_words(name: str, cells: Sequence[Cell], shown: Sequence[str]) -> str:
    said: list[str] = []
    for cell in cells:
        rows = [(value, _headline(cell, name, value)) for value in shown]
        scores = [f"{value} {row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})" for value, row in rows if row]
        said.append(f"{cell['cell']}: {', '.join(scores) or 'no score'}")
    return f"Dots with 95 % intervals. {'; '.join(said)}"
