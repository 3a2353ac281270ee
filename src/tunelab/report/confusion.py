"""Which answers were given where each was right: a matrix per cell, as a table and in colour.

A model that prefers a letter shows it as a dark column; one that does not answer, in the last one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tunelab.report.colouring import Field, coloured
from tunelab.report.drawing import INK, Picture, label, new_figure
from tunelab.report.groups import file_name
from tunelab.report.tabular import Table

NO_ANSWER = "no answer"
NOTE = "A field has the share of its line and is purple where the answer is right, orange where it is wrong."
ACROSS = 3
WIDEST, HIGHEST = 20, 60
"""Inches that a figure may take."""

Matrix = Mapping[str, Any]
"""A row of ``confusions`` in ``comparison.json``."""


def tables(matrices: Sequence[Matrix]) -> list[Table]:
    """Return a table per cell: right answers by given ones, and how many outputs gave none."""
    return [
        Table(
            f"{found['cell']}: right answers by given ones",
            ("right", *found["answered"], NO_ANSWER),
            [[gold, *line] for gold, line in zip(found["gold"], _lines(found), strict=True)],
        )
        for found in matrices
    ]


def _lines(found: Matrix) -> list[list[int]]:
    return [[*line, none] for line, none in zip(found["counts"], found["no_answer"], strict=True)]


def pictures(matrices: Sequence[Matrix]) -> list[Picture]:
    """Draw a picture per task, a panel per cell."""
    tasks: defaultdict[str, list[Matrix]] = defaultdict(list)
    for found in matrices:
        tasks[found["task"]].append(found)
    return [_picture(task, found) for task, found in tasks.items()]


def _picture(task: str, matrices: Sequence[Matrix]) -> Picture:
    across = min(ACROSS, len(matrices))
    down = -(-len(matrices) // across)
    width, height = 1.8 + 0.6 * max(len(m["answered"]) for m in matrices), 1.3 + 0.45 * max(map(_rows, matrices))
    size = min(max(width, 3.2) * across, WIDEST), min(height * down, HIGHEST)
    figure, axes = new_figure(*size, len(matrices), across)
    for panel, found in zip(axes, matrices, strict=True):
        coloured(panel, found["gold"], [*found["answered"], NO_ANSWER], _fields(found), 1.0)
        panel.set_title(label(found["cell"]), fontsize=10, color=INK)
        panel.set_xlabel("given")
        panel.set_ylabel("right")
    said = "; ".join(f"{found['cell']}: {_in_words(found)}" for found in matrices)
    return Picture(file_name("confusion", task), f"{task}: right and given answers", said, figure, NOTE)


def _rows(found: Matrix) -> int:
    return len(found["gold"])


def _fields(found: Matrix) -> list[list[Field]]:
    names = [*found["answered"], NO_ANSWER]
    fields: list[list[Field]] = []
    for gold, line in zip(found["gold"], _lines(found), strict=True):
        shares = [count / sum(line) for count in line]
        fields.append([Field(f"{s:.2f}", s if name == gold else -s) for name, s in zip(names, shares, strict=True)])
    return fields


def _in_words(found: Matrix) -> str:
    names = [*found["answered"], NO_ANSWER]
    return ", ".join(
        f"right {gold}: {' '.join(f'{name} {count}' for name, count in zip(names, line, strict=True))}"
        for gold, line in zip(found["gold"], _lines(found), strict=True)
    )
