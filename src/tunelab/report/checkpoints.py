"""Checkpoints that a search chose among: their scores on held-out rows, as a table and over the optimiser steps.

The winner of several is partly lucky on the rows that chose it, so its score there is no estimate of what it can do;
the page says so beside both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from tunelab.report.drawing import COLOURS, GRID, INK, LINES, MARKERS, Picture, errors, label, legend, new_figure
from tunelab.report.evidence import Evidence
from tunelab.report.tabular import Table
from tunelab.report.wording import DASH, interval, number

NAME, TITLE = "checkpoint_scores", "Checkpoints on held-out rows"
CHOSEN = "✓ chosen"
OPTIMISTIC = (
    "The checkpoint with the best mean was kept; a tie goes to the earlier one. Its score on the rows that chose it is "
    "optimistic, as the best of several always is. The scores under Results are not: those rows chose nothing."
)
NONE = "No variant was chosen among checkpoints, so there is nothing to plot."

Search = Mapping[str, Any]


def checkpoint_searches(evidence: Evidence) -> dict[str, Search]:
    """Return the searches among checkpoints by variant."""
    found = {name: artifact.record.facts.get("search", {}) for name, artifact in evidence.of("train").items()}
    return {name: search for name, search in found.items() if search.get("by") == "checkpoints"}


def checkpoints(evidence: Evidence) -> Table:
    """Every checkpoint with its score by task and their mean, the chosen one marked."""
    columns = ("variant", "step", "epoch", "task", "value", "95 %", "n", "mean over tasks", "chosen")
    rows: list[Sequence[Any]] = []
    for name, search in checkpoint_searches(evidence).items():
        for found in search["candidates"]:
            chosen = CHOSEN if found["candidate"] == search["chosen"] else ""
            epoch = DASH if found["epoch"] is None else f"{found['epoch']:g}"
            for task, score in found["scores"].items():
                values = [number(score["value"]), interval(score), score["n"], number(found["mean"])]
                rows.append([name, found["candidate"], epoch, task, *values, chosen])
    return Table("Checkpoints that were tried, on rows held out of the training split", columns, rows)


def few_steps(evidence: Evidence) -> str:
    """Say which trainings had fewer steps than checkpoints were asked for; empty when none had."""
    short = [
        f"{name} has {len(search['candidates'])} of the {search['asked']} checkpoints that were asked for"
        for name, search in checkpoint_searches(evidence).items()
        if len(search["candidates"]) < search["asked"]
    ]
    return f"{'; '.join(short)}: its training had too few steps for more." if short else ""


def checkpoint_curves(evidence: Evidence) -> Picture:
    """Draw a panel a variant: a line a task with intervals, and a ring around the chosen checkpoint."""
    searches = checkpoint_searches(evidence)
    if not searches:
        return Picture(NAME, TITLE, NONE, None)
    figure, grid = new_figure(9, 0.6 + 3.0 * len(searches), len(searches))
    for axes, (name, search) in zip(grid, searches.items(), strict=True):
        _panel(axes, name, search)
    return Picture(NAME, TITLE, _in_words(searches), figure, f"Values with 95 % intervals. {OPTIMISTIC}")


def _panel(axes: Axes, name: str, search: Search) -> None:
    tried = [c for c in search["candidates"] if all(s["low"] is not None for s in c["scores"].values())]
    steps = [found["candidate"] for found in tried]
    for i, task in enumerate(search["candidates"][0]["scores"]):
        scores = [found["scores"][task] for found in tried]
        axes.errorbar(
            steps,
            [score["value"] for score in scores],
            errors(scores),
            color=COLOURS[i % len(COLOURS)],
            linestyle=LINES[i % len(LINES)],
            marker=MARKERS[i % len(MARKERS)],
            markersize=5,
            capsize=3,
            label=label(f"{task} ({search['candidates'][0]['scores'][task]['metric']})"),
        )
    best = next(found for found in search["candidates"] if found["candidate"] == search["chosen"])
    values = [score["value"] for score in best["scores"].values()]
    axes.plot(
        [search["chosen"]] * len(values),
        values,
        marker="o",
        markersize=14,
        markerfacecolor="none",
        markeredgecolor=INK,
        linestyle="",
        label=f"chosen: step {search['chosen']}",
    )
    axes.set(xlabel="optimiser step", ylabel="score on held-out rows")
    axes.set_xticks([found["candidate"] for found in search["candidates"]])
    axes.set_title(label(name), fontsize=10, color=INK)
    axes.grid(axis="y", color=GRID)
    legend(axes)


def _in_words(searches: Mapping[str, Search]) -> str:
    said = [
        f"{name}, step {found['candidate']}, {task}: {number(score['value'])} {interval(score)}"
        + (" (chosen)" if found["candidate"] == search["chosen"] else "")
        for name, search in searches.items()
        for found in search["candidates"]
        for task, score in found["scores"].items()
    ]
    return f"Score on held-out rows over optimiser steps. {'; '.join(said)}"
