"""The interaction of the formats: what evaluating in a format does to a score, for each format trained in.

One line per training format over the evaluation formats, one panel per method, model and adaptation. Lines that
run apart or cross are the interaction; the paired contrast beside the figures says whether it is more than noise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from tunelab.report.drawing import COLOURS, GRID, INK, LINES, MARKERS, Picture, errors, label, legend, new_figure
from tunelab.report.wording import number

NAME, TITLE = "interaction", "Training format × evaluation format"
NOTE = (
    "Parallel lines would mean that each format acts on its own, lines that cross that the two have to match; bars are "
    "95 % intervals of each mean, while the effects in the table below are paired item by item."
)
NONE = (
    "No two formats are fully crossed (each trained in and each evaluated in, all else equal), so there is no "
    "interaction to plot."
)
PANEL = ("method", "model", "adaptation", "task", "metric", "evaluations")
ACROSS = 3
SHIFT = 0.06
"""Between the lines' points, so that no bar hides another."""
ROOM = 36
"""Characters under a panel's axis."""

Row = Mapping[str, Any]


def interaction(points: Sequence[Row]) -> Picture:
    """Draw ``comparison["interactions"]``, or say why there is nothing to draw."""
    panels = _panels(points)
    if not panels:
        return Picture(NAME, TITLE, NONE, None)
    across = min(ACROSS, len(panels))
    rows = -(-len(panels) // across)
    figure, axes = new_figure(3.4 * across + 2.2, min(3.4 * rows + 0.4, 60), len(panels), across)
    trained = list(dict.fromkeys(p["train_format"] for p in points))
    low = min(0.0, *(p["low"] for p in points))
    high = max(p["high"] for p in points)
    for i, (panel, (name, group)) in enumerate(zip(axes, panels.items(), strict=True)):
        _lines(panel, group, trained)
        panel.set_title(label(name), fontsize=10, color=INK)
        panel.set_ylim(low, high + 0.05 * (high - low))
        panel.set_ylabel(label(f"mean {group[0]['metric']}") if i % across == 0 else "")
    legend(axes[across - 1], "trained in")
    return Picture(NAME, TITLE, _in_words(panels), figure, NOTE)


def _panels(points: Sequence[Row]) -> dict[str, list[Row]]:
    """Group points by panel, named by what differs between the panels."""
    groups: defaultdict[tuple[str, ...], list[Row]] = defaultdict(list)
    for point in points:
        groups[tuple(_text(point[name]) for name in PANEL)].append(point)
    differing = [i for i in range(len(PANEL) - 1) if len({key[i] for key in groups}) > 1] or [0]
    return {", ".join(key[i] for i in differing): group for key, group in groups.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def _lines(axes: Axes, points: Sequence[Row], trained: Sequence[str]) -> None:
    evaluated = list(dict.fromkeys(p["eval_format"] for p in points))
    for i, fmt in enumerate(trained):
        line = [p for p in points if p["train_format"] == fmt]
        places = [evaluated.index(p["eval_format"]) + SHIFT * (i - (len(trained) - 1) / 2) for p in line]
        axes.errorbar(
            places,
            [p["value"] for p in line],
            errors(line),
            color=COLOURS[i % len(COLOURS)],
            linestyle=LINES[i % len(LINES)],
            marker=MARKERS[i % len(MARKERS)],
            markersize=7,
            capsize=3,
            elinewidth=1.1,
            clip_on=False,
            label=label(fmt),
        )
    axes.set_xticks(range(len(evaluated)), [label(name) for name in evaluated], **_slant(evaluated))
    axes.set_xlim(-0.35, len(evaluated) - 0.65)
    axes.set_xlabel("evaluated in")
    axes.grid(axis="y", color=GRID)


def _slant(names: Sequence[str]) -> dict[str, Any]:
    """Slant names that would run into each other."""
    return {"rotation": 20, "ha": "right"} if max(map(len, names)) * len(names) > ROOM else {}


def _in_words(panels: Mapping[str, Sequence[Row]]) -> str:
    said = (
        f"{name}, trained in {p['train_format']}, evaluated in {p['eval_format']}: {number(p['value'])} "
        f"from {number(p['low'])} to {number(p['high'])}"
        for name, points in panels.items()
        for p in points
    )
    return f"Lines over the evaluation formats with 95 % intervals. {'; '.join(said)}"
