"""Transfer: what training on some tasks does to others, trained on × evaluated on, a matrix per kind of weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tunelab.report.colouring import Field, coloured, reach
from tunelab.report.drawing import INK, Picture, label, new_figure
from tunelab.report.evidence import Evidence

NAME, TITLE = "transfer", "Transfer: trained on × evaluated on"
NOTE = (
    "A field has the change against the baseline in points of 100, or the score where there is none to compare with; "
    "* marks a change that is more than chance. All panels share their colours: purple is better, orange is worse."
)
NONE = "All variants were trained on the same data or evaluated on one task, so there is no transfer to show."
ACROSS = 2

Cell = Mapping[str, Any]
Panels = Mapping[str, Mapping[str, Mapping[str, Cell]]]
"""Kind of weights, line, evaluation."""


def transfer(evidence: Evidence) -> Picture:
    """Draw the trained cells by what they were trained and evaluated on, or say why there is nothing to draw."""
    cells = [
        c for c in evidence.scored if c["factors"]["trained_on"] and c["metrics"][c["headline"]]["value"] is not None
    ]
    columns = list(dict.fromkeys(c["evaluation"] for c in cells))
    if len({c["factors"]["trained_on"] for c in cells}) < 2 or len({c["task"] for c in cells}) < 2:
        return Picture(NAME, TITLE, NONE, None)
    panels = _panels(cells)
    fields = {
        name: [[_field(line.get(column), evidence) for column in columns] for line in lines.values()]
        for name, lines in panels.items()
    }
    strongest = reach(f for lines in fields.values() for line in lines for f in line)
    across = min(ACROSS, len(panels))
    down, deepest = -(-len(panels) // across), max(map(len, panels.values()))
    width, height = 0.9 * len(columns) + 2.6, 0.42 * deepest + 1.4
    figure, axes = new_figure(min(width * across, 20), min(height * down, 60), len(panels), across)
    for panel, (name, lines) in zip(axes, panels.items(), strict=True):
        coloured(panel, list(lines), columns, fields[name], strongest)
        panel.set_title(label(name), fontsize=10, color=INK)
        panel.set_xlabel("evaluated on")
        panel.set_ylabel("trained on")
    return Picture(NAME, TITLE, _in_words(panels, evidence), figure, NOTE)


def _panels(cells: Sequence[Cell]) -> Panels:
    """Return the cells by kind of weights, line and evaluation; every variant has a place.

    A line is what was trained on, with the variant's name where several of a panel were trained on the same.
    """
    variants: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for cell in cells:
        variants[_panel(cell), cell["factors"]["trained_on"]].add(cell["variant"])
    panels: defaultdict[str, defaultdict[str, dict[str, Cell]]] = defaultdict(lambda: defaultdict(dict))
    for cell in sorted(cells, key=lambda c: 0 if c["size"] == "full" else c["size"]):
        data = cell["factors"]["trained_on"]
        line = data if len(variants[_panel(cell), data]) == 1 else f"{cell['variant']}: {data}"
        panels[_panel(cell)][line][cell["evaluation"]] = cell
    return panels


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


def _in_words(panels: Panels, evidence: Evidence) -> str:
    said = (
        f"{name}, trained on {line}, evaluated on {column}: {_field(cell, evidence).text}"
        for name, lines in panels.items()
        for line, found in lines.items()
        for column, cell in found.items()
    )
    return f"Matrices of training data and evaluations. {'; '.join(said)}"
