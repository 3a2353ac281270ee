"""Training curves: the loss of each variant over its optimiser steps, as the trainer logged it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunelab.engine.record import Artifact
from tunelab.files import read_lines
from tunelab.report.drawing import COLOURS, GRID, LINES, MARKERS, Picture, label, legend, new_figure

TITLE = "Training loss over optimiser steps"
METRICS = "metrics.jsonl"
MARKS_PER_LINE = 10

Losses = list[tuple[int, float]]


def training_curves(trained: Mapping[str, Artifact]) -> Picture:
    """One line per trained variant."""
    curves = {name: found for name, artifact in trained.items() if (found := losses(artifact))}
    if not curves:
        reason = "No training step logged a loss, so there is nothing to plot."
        return Picture("training_curves", TITLE, reason, None)
    figure, (axes,) = new_figure(9, 4.4)
    for i, (name, points) in enumerate(curves.items()):
        axes.plot(
            [step for step, _ in points],
            [loss for _, loss in points],
            color=COLOURS[i % len(COLOURS)],
            linestyle=LINES[i % len(LINES)],
            marker=MARKERS[i % len(MARKERS)],
            markevery=max(1, len(points) // MARKS_PER_LINE),
            markersize=5,
            linewidth=1.6,
            label=label(name),
        )
    axes.set(xlabel="optimiser step", ylabel="training loss")
    axes.grid(color=GRID)
    legend(axes)
    return Picture("training_curves", TITLE, _in_words(curves), figure)


def losses(artifact: Artifact) -> Losses:
    """Return (step, loss) as logged; steps whose loss was not a number are left out."""
    if METRICS not in artifact.record.files:
        return []
    rows: list[dict[str, Any]] = read_lines(artifact.path(METRICS))
    return [(row["step"], row["loss"]) for row in rows if row.get("loss") is not None]


def _in_words(curves: Mapping[str, Losses]) -> str:
    ends = (f"{name}: from {points[0][1]:.3f} to {points[-1][1]:.3f}" for name, points in curves.items())
    return "Lines, first and last logged loss. " + "; ".join(ends)
