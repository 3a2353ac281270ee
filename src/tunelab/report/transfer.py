"""Transfer: what training on some tasks does to others, trained on × evaluated on, a matrix per kind of weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from tunelab.report.colouring import Field, coloured
from tunelab.report.drawing import INK, Picture, label, new_figure
from tunelab.report.evidence import Evidence

NAME, TITLE = "transfer", "Transfer: trained on × evaluated on"
NOTE = (
    "A field has the change against the baseline in points of 100, or the score where there is none to compare with; "
    "* marks a change that is more than chance. Off the diagonal, one task's training moves another task."
)
NONE = "All variants were trained on the same data or evaluated on one task, so there is no transfer to show."
ACROSS = 2

Cell = Mapping[str, Any]


def transfer(evidence: Evidence) -> Picture:
    """Draw the trained cells by what they were trained and evaluated on, or say why there is nothing to draw."""
    cells = [
        c for c in evidence.scored if c["factors"]["trained_on"] and c["metrics"][c["headline"]]["value"] is not None
    ]
    rows = list(dict.fromkeys(c["factors"]["trained_on"] for c in cells))
    columns = list(dict.fromkeys(c["evaluation"] for c in cells))
    if len(rows) < 2 or len({c["task"] for c in cells}) < 2:
        return Picture(NAME, TITLE, NONE, None)
    panels: defaultdict[str, dict[tuple[str, str], Cell]] = defaultdict(dict)
    for cell in sorted(cells, key=lambda c: 0 if c["size"] == "full" else c["size"]):
        panels[_panel(cell)].setdefault((cell["factors"]["trained_on"], cell["evaluation"]), cell)
    across = min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    width, height = 0.9 * len(columns) + 2.2, 0.42 * len(rows) + 1.1
    figure, axes = new_figure(min(width * across, 20), min(height * down, 60), len(panels), across)
    for panel, (name, found) in zip(axes, panels.items(), strict=True):
        lines = [row for row in rows if any(trained_on == row for trained_on, _ in found)]
        fields = [[_field(found.get((row, column)), evidence) for column in columns] for row in lines]
        coloured(panel, lines, columns, fields)
        panel.set_title(label(name), fontsize=10, color=INK)
    return Picture(NAME, TITLE, _in_words(panels, evidence), figure, NOTE)


def _panel(cell: Cell) -> str:
    return "full weights" if cell["size"] == "full" else f"LoRA rank {cell['size']}"


def _field(cell: Cell | None, evidence: Evidence) -> Field:
    if cell is None:
        return Field("", None)
    found, row = cell["metrics"][cell["headline"]], evidence.against.get(cell["cell"])
    scale = found.get("scale", 1.0)
    if row is None or "refused" in row:
        return Field(f"{100 * found['value'] / scale:.1f}", None)
    sure = "" if row["verdict"] == "undecided" else "*"
    return Field(f"{100 * row['difference'] / scale:+.1f}{sure}", row["difference"] / scale)


def _in_words(panels: Mapping[str, Mapping[tuple[str, str], Cell]], evidence: Evidence) -> str:
    said = (
        f"{name}, trained on {row}, evaluated on {column}: {_field(cell, evidence).text}"
        for name, found in panels.items()
        for (row, column), cell in found.items()
    )
    return f"Matrices of training data and evaluations. {'; '.join(said)}"
