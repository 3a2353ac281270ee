"""Training curves: the loss of each variant over its optimiser steps, as the trainer logged it.

Methods minimise different things, so each has a panel and an axis of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from matplotlib.axes import Axes

from tunelab.engine.record import Artifact
from tunelab.files import read_lines
from tunelab.report.drawing import COLOURS, GRID, LINES, MARKERS, Picture, label, legend, new_figure

TITLE = "Training loss over optimiser steps"
METRICS = "metrics.jsonl"
MARKS_PER_LINE = 10
LOSSES = {
    "sft": "sft loss (nats per learnt token)",
    "seq2seq": "seq2seq loss (nats per learnt token)",
    "grpo": "grpo loss",
    "dpo": "dpo loss",
}
NOTE = (
    "Methods minimise different losses, which cannot be compared; that of grpo does not say how good the policy is, "
    "its reward below does."
)

Losses = list[tuple[int, float]]


def training_curves(trained: Mapping[str, Artifact]) -> Picture:
    """One line per trained variant."""
    curves = {name: found for name, artifact in trained.items() if (found := losses(artifact))}
    if not curves:
        reason = "No training step logged a loss, so there is nothing to plot."
        return Picture("training_curves", TITLE, reason, None)
    panels = _by_method(trained, curves)
    figure, grid = new_figure(9, 0.8 + 3.2 * len(panels), len(panels))
    for axes, (method, names) in zip(grid, panels.items(), strict=True):
        for i, name in enumerate(names):
            _line(axes, name, curves[name], i)
        axes.set(xlabel="optimiser step", ylabel=label(LOSSES[method]))
        axes.grid(color=GRID)
        legend(axes)
    return Picture("training_curves", TITLE, _in_words(curves), figure, NOTE if len(panels) > 1 else "")


def _by_method(trained: Mapping[str, Artifact], names: Iterable[str]) -> dict[str, list[str]]:
    panels: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        panels[trained[name].record.settings["recipe"]["method"]].append(name)
    return dict(panels)


def _line(axes: Axes, name: str, points: Losses, i: int) -> None:
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


def losses(artifact: Artifact) -> Losses:
    """Return (step, loss) as logged; steps whose loss was not a number are left out."""
    if METRICS not in artifact.record.files:
        return []
    rows: list[dict[str, Any]] = read_lines(artifact.path(METRICS))
    return [(row["step"], row["loss"]) for row in rows if row.get("loss") is not None]


def _in_words(curves: Mapping[str, Losses]) -> str:
    ends = (f"{name}: from {points[0][1]:.3f} to {points[-1][1]:.3f}" for name, points in curves.items())
    return "Lines, first and last logged loss. " + "; ".join(ends)
