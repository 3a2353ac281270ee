"""Results within groups of items (hazards, subjects): a table and a figure per grouping, and one CSV of all.

What a task groups by stands in its summary, so this shows whatever is there and nothing where there is none. Groups
are small: a difference between two of them is seldom more than their intervals allow. The best stand first, by what
is left of their scores when they are shrunken toward the cell's mean: else the smallest groups would lead and end it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from tunelab.files import to_csv
from tunelab.report.cells import metric_names
from tunelab.report.dots import MOST, dots, in_words
from tunelab.report.drawing import Picture
from tunelab.report.evidence import Cell, Evidence
from tunelab.report.tabular import Table
from tunelab.report.wording import interval, number

NOT_IN_NAMES = re.compile(r"[^\w.-]+", re.ASCII)
SHRUNKEN = "shrunken"


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
    shrunken = any(SHRUNKEN in group for cell in cells for group in cell["groups"][name].values())
    order = ", best first by the shrunken scores" if shrunken else ", best first"
    caption = f"{task}: {cells[0]['headline']} by {name}, with 95 % intervals{order}"
    return Table(caption, (name, *(cell["cell"] for cell in cells)), rows)


def _estimate(cell: Cell, name: str, value: str) -> str | None:
    group = cell["groups"][name].get(value)
    if group is None:
        return None
    found = group["metrics"][cell["headline"]]
    of = "" if group["scored"] == group["n"] else f" of {group['n']:,}"
    kept = f", shrunken {number(group[SHRUNKEN])}" if SHRUNKEN in group else ""
    return f"{number(found['value'])} {interval(found)}{kept}, n = {group['scored']:,}{of}"


def values(name: str, cells: Sequence[Cell]) -> list[str]:
    """Return every group that any of the cells has, the best first: by its mean over the cells that scored it."""
    every = sorted({value for cell in cells for value in cell["groups"][name]})
    return sorted(every, key=lambda value: _standing(name, value, cells), reverse=True)


def _standing(name: str, value: str, cells: Sequence[Cell]) -> tuple[float, float]:
    """Return a group's shrunken and plain score, which tells apart where all is shrunken to one; no score is last."""
    scored = [(cell["groups"][name][value], row["value"]) for cell in cells if (row := _headline(cell, name, value))]
    if not scored:
        return -math.inf, -math.inf
    return fmean(group.get(SHRUNKEN, plain) for group, plain in scored), fmean(plain for _, plain in scored)


def groups_csv(evidence: Evidence) -> str:
    """Return ``group_rows`` as CSV; empty where nothing is grouped."""
    return to_csv(group_rows(evidence.scored))


def group_rows(scored: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return a row per cell and group, with every digit of ``comparison.json``; none where nothing is grouped."""
    groups = [group for cell in scored for by in cell.get("groups", {}).values() for group in by.values()]
    metrics, shrunken = metric_names(groups), any(SHRUNKEN in group for group in groups)
    return [
        {
            **{key: cell[key] for key in ("task", "variant", "evaluation")},
            "by": name,
            "group": value,
            **{key: cell["groups"][name][value][key] for key in ("n", "scored")},
            **_bounds(cell["groups"][name][value]["metrics"], metrics),
            **({SHRUNKEN: cell["groups"][name][value].get(SHRUNKEN)} if shrunken else {}),
        }
        for (_, name), cells in groupings(scored).items()
        for cell in cells
        for value in sorted(cell["groups"][name])
    ]


def _bounds(found: Mapping[str, Any], metrics: Sequence[str]) -> dict[str, Any]:
    return {f"{m}_{bound}": found.get(m, {}).get(bound) for m in metrics for bound in ("value", "low", "high")}


def pictures(cells: Sequence[Cell]) -> list[Picture]:
    """Draw each grouping that has a score: a line per group, a dot with its interval per cell."""
    scored = [cell for cell in cells if cell["metrics"][cell["headline"]]["value"] is not None]
    return [_picture(task, name, found) for (task, name), found in groupings(scored).items()]


def _picture(task: str, name: str, cells: Sequence[Cell]) -> Picture:
    every = values(name, cells)
    largest = sorted(every, key=lambda value: -_items(name, value, cells))[:MOST]
    shown = [value for value in every if value in largest]
    found = {cell["cell"]: {v: row for v in shown if (row := _headline(cell, name, v))} for cell in cells}
    figure, _ = dots(shown, found, f"{task}: {cells[0]['headline']}")
    note = f"The {MOST} largest of {len(every)} groups; the table has all." if len(every) > len(shown) else ""
    return Picture(file_name("by", name, task), f"{task} by {name}", in_words(shown, found), figure, note)


def file_name(*parts: str) -> str:
    """Return the name of a figure's files."""
    return NOT_IN_NAMES.sub("-", "_".join(parts))


def _items(name: str, value: str, cells: Sequence[Cell]) -> int:
    return max(cell["groups"][name][value]["n"] for cell in cells if value in cell["groups"][name])


def _headline(cell: Cell, name: str, value: str) -> Mapping[str, Any] | None:
    """Return the headline of a group; None where a cell has no such group, or no score in it."""
    group = cell["groups"][name].get(value)
    found = group["metrics"][cell["headline"]] if group else None
    return found if found and found["value"] is not None else None
