"""GRPO on several tasks: what each of them earned, and whether all of them could teach.

One reward that rises hides another that never fires: so every task has its own curve and its own counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunelab.data.mixtures import TASK
from tunelab.engine.record import Artifact
from tunelab.report.drawing import Picture, label, legend, new_figure
from tunelab.report.rollouts import (
    POINTS,
    Curve,
    Health,
    components_of,
    draw_curves,
    ends,
    lost,
    mean_component,
    panel,
    reward_curve,
    share_steps,
    spans,
)
from tunelab.report.tabular import Table
from tunelab.report.wording import number

Groups = Sequence[Mapping[str, Any]]
TITLE = "Mean reward of reinforcement learning, by task"


def by_task(health: Health) -> dict[str, Groups]:
    """Return a training's groups by the task of their prompts; none where it is on one task."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for group in health.groups:
        if TASK in group:
            found.setdefault(group[TASK], []).append(group)
    return dict(sorted(found.items()))


def task_curves(healths: Mapping[str, Health]) -> Picture:
    """One panel a task, one line per variant; no figure where no training is on several tasks."""
    found = {variant: {t: spans(reward_curve(g)) for t, g in by_task(h).items()} for variant, h in healths.items()}
    tasks = sorted({task for curves in found.values() for task in curves})
    if not tasks:
        return Picture("grpo_by_task", TITLE, "", None)
    figure, grid = new_figure(9, 1.0 + 1.7 * len(tasks), len(tasks))
    for task, axes in zip(tasks, grid, strict=True):
        curves = {variant: of_task[task] for variant, of_task in found.items() if task in of_task}
        draw_curves(axes, curves, label(task), of_one=True)
    share_steps(grid)
    legend(grid[0])
    return Picture(
        "grpo_by_task", TITLE, _in_words(found), figure, "Rewards of different tasks are on scales of their own."
    )


def _in_words(found: Mapping[str, Mapping[str, Curve]]) -> str:
    said = [
        f"{variant} on {task}: {number(first)} to {number(last)}"
        for variant, curves in found.items()
        for task, curve in curves.items()
        for first, last in [ends(curve)]
    ]
    return f"Mean reward, first and last point. {'; '.join(said)}"


def task_table(healths: Mapping[str, Health]) -> Table:
    """A row per variant and task: where its reward began and ended, and how much of its work could teach."""
    groups = [group for health in healths.values() for group in health.groups if TASK in group]
    named = components_of(groups)
    columns = ("variant", "task", "groups", "first reward", "last reward",
               *(panel(name).replace("\n", " ") for name in named), "groups without variance",
               "completions cut by the budget", "without an answer", "without a reward")  # fmt: skip
    rows: list[list[Any]] = []
    for variant, health in healths.items():
        for task, of_task in by_task(health).items():
            means = [mean_component(of_task, name) for name in named]
            rows.append([variant, task, len(of_task), *ends(spans(reward_curve(of_task))), *means, *lost(of_task)])
    caption = f"Rewards of GRPO by task; first and last are means over a {POINTS}th of the steps that have the task"
    return Table(caption, columns, rows)


def refused_gold(trained: Mapping[str, Artifact]) -> dict[str, list[str]]:
    """Return, by variant, the gold answers that its own reward gave less than 1 when they were tried out."""
    found = {name: artifact.record.facts.get("receipt", {}).get("gold_refused") for name, artifact in trained.items()}
    return {name: ids for name, ids in found.items() if ids}
