"""Dots on lines: a line per group, on it a dot with its interval per cell, in the order that the caller gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tunelab.report.drawing import COLOURS, GRID, MARKERS, errors, label, legend, new_figure

MOST = 60
"""Lines that a figure shows; the table has all."""
APART = 0.7
"""Share of a line over which its dots are spread."""

Dot = Mapping[str, Any]
"""``value``, ``low`` and ``high``."""


def dots(lines: Sequence[str], series: Mapping[str, Mapping[str, Dot]], about: str) -> tuple[Figure, Axes]:
    """Draw each series' dots by line, the first line on top; a series may lack some. ``about`` names the axis."""
    figure, [axes] = new_figure(9, 1.2 + len(lines) * max(0.24, 0.13 * len(series)))
    for place, (name, found) in enumerate(series.items()):
        shown = {line: found[line] for line in lines if line in found}
        shift = (place - (len(series) - 1) / 2) * APART / len(series)
        axes.errorbar(
            [dot["value"] for dot in shown.values()],
            [lines.index(line) + shift for line in shown],
            xerr=errors(list(shown.values())),
            fmt=MARKERS[place % len(MARKERS)],
            color=COLOURS[place % len(COLOURS)],
            label=label(name),
            markersize=5,
            elinewidth=1.2,
        )
    axes.set_yticks(range(len(lines)), [label(line) for line in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlabel(label(about))
    axes.grid(axis="x", color=GRID)
    legend(axes)
    return figure, axes


def in_words(lines: Sequence[str], series: Mapping[str, Mapping[str, Dot]]) -> str:
    """Say what ``dots`` draws."""
    said: list[str] = []
    for name, found in series.items():
        rows = [(line, found[line]) for line in lines if line in found]
        scores = [f"{line} {row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})" for line, row in rows]
        said.append(f"{name}: {', '.join(scores) or 'no score'}")
    return f"Dots with 95 % intervals. {'; '.join(said)}"
