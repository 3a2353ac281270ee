"""The chat template in evaluation: each variant's score with it against its score without it.

Two evaluations are twins when they differ in the format's template alone: same task, decoding, worked examples
and system prompt. Points above the diagonal score higher with the template.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from tunelab.canonical import canonical
from tunelab.engine.record import Artifact
from tunelab.report.drawing import COLOURS, GRID, MARKERS, Picture, errors, label, legend, new_figure
from tunelab.report.evidence import Cell, Evidence

TITLE = "Score with the chat template in evaluation against the score without it"


@dataclass(frozen=True)
class Twin:
    """A variant's two cells that differ in the evaluation's template."""

    name: str
    chat: Mapping[str, Any]
    raw: Mapping[str, Any]


def eval_template_scatter(evidence: Evidence) -> Picture:
    """A point per variant with error bars both ways; nothing when only one kind of template was evaluated."""
    points = twins(evidence)
    if not points:
        reason = "No variant has a score both with and without the chat template, so there is nothing to plot."
        return Picture("eval_template_scatter", TITLE, reason, None)
    figure, (axes,) = new_figure(8, 5.4)
    for i, twin in enumerate(points):
        _point(axes, twin, COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)])
    low = min(0.0, *(end["low"] for twin in points for end in (twin.raw, twin.chat)))
    high = max(end["high"] for twin in points for end in (twin.raw, twin.chat)) * 1.05
    axes.plot([low, high], [low, high], color="#777777", linestyle="--", linewidth=1, label="equal scores")
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.set(xlabel="score without the template (raw)", ylabel="score with the template (chat)")
    axes.set_aspect("equal")
    axes.grid(color=GRID)
    legend(axes)
    return Picture("eval_template_scatter", TITLE, _in_words(points), figure)


def _point(axes: Axes, twin: Twin, colour: str, marker: str) -> None:
    x, y = [twin.raw["value"]], [twin.chat["value"]]
    across, upright = errors([twin.raw]), errors([twin.chat])
    axes.errorbar(x, y, upright, across, fmt="none", ecolor=colour, capsize=3, elinewidth=1.1)
    axes.plot(x, y, marker, color=colour, markersize=8, label=label(twin.name))


def twins(evidence: Evidence) -> list[Twin]:
    """Pair each variant's cells by all that they should share."""
    pairs: defaultdict[tuple[str, str], dict[str, Cell]] = defaultdict(dict)
    generated = evidence.of("generate")
    for cell in evidence.scored:
        made = generated.get(cell["cell"])
        if made is not None and cell["metrics"][cell["headline"]]["value"] is not None:
            pairs[cell["variant"], _shared(made)].setdefault(made.record.settings["format"]["template"], cell)
    whole = [(variant, pair) for (variant, _), pair in pairs.items() if {"chat", "raw"} <= set(pair)]
    repeated = len({variant for variant, _ in whole}) < len(whole)
    return [
        Twin(
            f"{variant} ({pair['chat']['evaluation']})" if repeated else variant,
            chat=pair["chat"]["metrics"][pair["chat"]["headline"]],
            raw=pair["raw"]["metrics"][pair["raw"]["headline"]],
        )
        for variant, pair in whole
    ]


def _shared(made: Artifact) -> str:
    """What two evaluations must have in common to differ in the template alone."""
    settings = made.record.settings
    fmt = settings["format"]
    return canonical(
        {
            "by": settings.get("by"),
            "decoding": settings.get("decoding"),
            "few_shots": fmt.get("few_shots"),
            "system": fmt["system"],
            "rows": made.record.inputs["rows"],
        }
    )


def _in_words(points: list[Twin]) -> str:
    named = (f"{t.name}: {t.chat['value']:.3f} with, {t.raw['value']:.3f} without" for t in points)
    return "Points with 95 % intervals and the diagonal of equal scores. " + "; ".join(named)
