"""Rank against score: what a larger adapter buys, and where full weights lie, one line per training data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from tunelab.report.drawing import COLOURS, GRID, INK, LINES, MARKERS, Picture, errors, label, legend, new_figure
from tunelab.report.wording import number

NAME, TITLE = "rank_scores", "LoRA rank and full weights against score"
NOTE = (
    "Points with 95 % intervals; full weights stand at the right, where there are any. One panel per evaluation. "
    "No line joins points where several variants of one rank were trained on the same."
)
NONE = "Fewer than two adapter ranks were trained, so there is no score against rank to plot."
ACROSS = 2
SHIFT = 0.07

Cell = Mapping[str, Any]


def rank_scores(cells: Sequence[Cell]) -> Picture:
    """Draw the scored cells of trained variants by rank, or say why there is nothing to draw."""
    shown = [c for c in cells if c["size"] is not None and _headline(c)["value"] is not None]
    sizes = sorted({c["size"] for c in shown if c["size"] != "full"})
    if len(sizes) < 2:
        return Picture(NAME, TITLE, NONE, None)
    full = ["full"] if any(c["size"] == "full" for c in shown) else []
    places = {size: i for i, size in enumerate([*sizes, *full])}
    panels: defaultdict[str, list[Cell]] = defaultdict(list)
    for cell in shown:
        panels[cell["evaluation"]].append(cell)
    across = min(ACROSS, len(panels))
    rows = -(-len(panels) // across)
    figure, axes = new_figure(3.9 * across + 2.4, min(3.0 * rows + 0.4, 60), len(panels), across)
    lines = list(dict.fromkeys(c["factors"]["trained_on"] for c in shown))
    for panel, (evaluation, found) in zip(axes, panels.items(), strict=True):
        _panel(panel, found, lines, places)
        panel.set_title(label(evaluation), fontsize=10, color=INK)
        panel.set_ylabel(label(found[0]["headline"]))
    legend(axes[across - 1], "trained on")
    return Picture(NAME, TITLE, _in_words(shown), figure, NOTE)


def _panel(axes: Axes, cells: Sequence[Cell], lines: Sequence[str], places: Mapping[Any, int]) -> None:
    for i, data in enumerate(lines):
        line = sorted((c for c in cells if c["factors"]["trained_on"] == data), key=lambda c: places[c["size"]])
        joined = len({c["size"] for c in line}) == len(line)
        axes.errorbar(
            [places[c["size"]] + SHIFT * (i - (len(lines) - 1) / 2) for c in line],
            [_headline(c)["value"] for c in line],
            errors([_headline(c) for c in line]),
            color=COLOURS[i % len(COLOURS)],
            linestyle=LINES[i % len(LINES)] if joined else "",
            marker=MARKERS[i % len(MARKERS)],
            capsize=2,
            elinewidth=1,
            label=label(data),
        )
    axes.set_xticks(list(places.values()), [str(size) for size in places])
    axes.set_xlabel("rank")
    axes.grid(axis="y", color=GRID)


def _headline(cell: Cell) -> Mapping[str, Any]:
    return cell["metrics"][cell["headline"]]


def _in_words(cells: Sequence[Cell]) -> str:
    said = (
        f"{c['evaluation']}, trained on {c['factors']['trained_on']}, rank {c['size']}: {number(_headline(c)['value'])}"
        for c in cells
    )
    return f"Score against rank. {'; '.join(said)}"
