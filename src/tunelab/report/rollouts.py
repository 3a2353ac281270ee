"""The health of GRPO: is there a reward to learn from, and is the policy still exploring?

Read from a train step's ``rollouts.jsonl``, which has a line a group, and from the trainer's ``metrics.jsonl``. A
group whose scored completions earned the same teaches nothing; a completion that the budget cut says little. The
components of the reward are shown where a variant has more than the task's, unweighted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tunelab.engine.record import Artifact
from tunelab.files import read_lines
from tunelab.report.curves import METRICS
from tunelab.report.drawing import COLOURS, GRID, LINES, Picture, label, legend, new_figure
from tunelab.report.tables import share
from tunelab.report.tabular import Table
from tunelab.training.groups import ROLLOUTS, SILENT, differ
from tunelab.training.recipe import of_judge

TITLE = "Health of reinforcement learning over optimiser steps"
POINTS = 40
"""A curve's points at most: each is the mean of a span of steps, since single steps are noisy."""
PANELS = {
    "reward": "mean reward",
    "zero_variance": "groups without\nvariance",
    "clipped": "completions cut\nby the budget",
    "entropy": "entropy (nats)",
    "kl": "KL from the base",
}
SIGNED = ("length", "entropy", "kl")
"""What is not a share of 1."""
LOGGED = ("entropy", "kl")
NO_DIVERGENCE = "not computed (beta 0)"

Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Health:
    """What a GRPO training went through: its groups, its curves over the steps by panel, and the weight of KL."""

    groups: Sequence[Mapping[str, Any]]
    curves: Mapping[str, Curve]
    beta: float


def health_of(trained: Mapping[str, Artifact]) -> dict[str, Health]:
    """Return the health of every variant that was trained by GRPO and left rollouts."""
    found = {name: _read(a) for name, a in trained.items() if a.record.settings["recipe"]["method"] == "grpo"}
    return {name: health for name, health in found.items() if health.groups}


def grpo_health(healths: Mapping[str, Health]) -> Picture:
    """One panel a measure, one line per variant; measures that nobody logged have no panel."""
    first, *others = PANELS
    named = [first, *_components(healths), *others]
    panels = [n for n in named if any(health.curves.get(n) for health in healths.values())]
    figure, grid = new_figure(9, 1.0 + 1.7 * len(panels), len(panels))
    for name, axes in zip(panels, grid, strict=True):
        curves = {variant: health.curves.get(name, []) for variant, health in healths.items()}
        draw_curves(axes, curves, panel(name), of_one=name not in SIGNED)
    share_steps(grid)
    legend(grid[0])
    return Picture("grpo_health", TITLE, _in_words(healths, panels), figure)


def draw_curves(axes: Axes, curves: Mapping[str, Curve], name: str, of_one: bool) -> None:
    """Draw a line a variant; what is a share of 1 has all of it in sight."""
    for i, (variant, curve) in enumerate(curves.items()):
        look: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "linestyle": LINES[i % len(LINES)], "marker": "."}
        axes.plot([s for s, _ in curve], [v for _, v in curve], **look, linewidth=1.6, label=label(variant))
    axes.set_ylabel(name, fontsize=9)
    axes.grid(color=GRID)
    if of_one and all(0 <= value <= 1 for curve in curves.values() for _, value in curve):
        axes.set_ylim(-0.03, 1.03)


def share_steps(grid: Sequence[Axes]) -> None:
    """Let panels below each other show the same optimiser steps, which are whole numbers."""
    low, high = min(axes.get_xlim()[0] for axes in grid), max(axes.get_xlim()[1] for axes in grid)
    for axes in grid:
        axes.set_xlim(low, high)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    grid[-1].set_xlabel("optimiser step")


def panel(name: str) -> str:
    """Return what a measure is called: a component of the reward by its name, or by its judge's."""
    judge = name.removeprefix(of_judge(""))
    return PANELS.get(name, f"mean {name} reward" if judge == name else f"mean verdict\nof {label(judge)}")


def health_table(healths: Mapping[str, Health]) -> Table:
    """A row per variant: where the reward began and ended, and how much of the work could teach."""
    named = _components(healths)
    columns = ("variant", "first reward", "last reward", *(_plainly(name) for name in named), "groups without variance",
               "completions cut by the budget", "without an answer", "unscored", "visits to prompts",
               "prompts visited", "first entropy", "last entropy", "last KL from the base")  # fmt: skip
    rows: list[list[Any]] = []
    for name, health in healths.items():
        counts = lost(health.groups)
        prompts = [len(health.groups), len({group["id"] for group in health.groups})]
        logged = [*ends(health.curves["entropy"]), ends(health.curves["kl"])[1] if health.beta else NO_DIVERGENCE]
        means = [mean_component(health.groups, component) for component in named]
        rows.append([name, *ends(health.curves["reward"]), *means, *counts, *prompts, *logged])
    caption = f"Rewards and groups of GRPO; first and last are means over a {POINTS}th of the steps, at least one"
    return Table(caption, columns, rows)


def silences(healths: Mapping[str, Health]) -> Table:
    """A row per variant, judge and reason: completions that a judge which rewards them said nothing of."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for variant, health in healths.items():
        for group in health.groups:
            for judge, reasons in group.get(SILENT, {}).items():
                counts.update({(variant, judge.removeprefix(of_judge("")), why): n for why, n in reasons.items()})
    rows = [[*where, share(n, sum(len(g["rewards"]) for g in healths[where[0]].groups))] for where, n in counts.items()]
    return Table("Completions without a judge's verdict", ("variant", "judge", "reason", "completions"), rows)


def lost(groups: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Count what could not teach: groups without variance, completions cut, without an answer, without a reward."""
    rewards: list[Any] = [reward for group in groups for reward in group["rewards"]]
    return [
        share(sum(not differ(group["rewards"]) for group in groups), len(groups)),
        share(sum(group["clipped"] for group in groups), len(rewards)),
        share(sum(group["no_answer"] for group in groups), len(rewards)),
        share(sum(reward is None for reward in rewards), len(rewards)),
    ]


def _read(artifact: Artifact) -> Health:
    files = artifact.record.files
    groups = read_lines(artifact.path(ROLLOUTS)) if ROLLOUTS in files else []
    logged = read_lines(artifact.path(METRICS)) if METRICS in files else []
    steps = by_step(groups)
    curves: dict[str, Curve] = {
        "reward": reward_curve(groups),
        **{
            name: [(step, mean) for step, rows in steps if (mean := mean_component(rows, name)) is not None]
            for name in components_of(groups)
        },
        "zero_variance": [(step, _mean([not differ(group["rewards"]) for group in rows])) for step, rows in steps],
        "clipped": [(step, _mean([_clipped(group) for group in rows])) for step, rows in steps],
        **{name: [(r["step"], r[name]) for r in logged if r.get(name) is not None] for name in LOGGED},
    }
    beta = artifact.record.settings["recipe"]["grpo"]["beta"]
    return Health(groups, {name: spans(curve) for name, curve in curves.items()}, beta)


def by_step(groups: Sequence[Mapping[str, Any]]) -> list[tuple[int, list[Mapping[str, Any]]]]:
    """Return the groups of every step, steps from 1."""
    return [(step + 1, list(rows)) for step, rows in groupby(groups, key=lambda group: group["step"])]


def reward_curve(groups: Sequence[Mapping[str, Any]]) -> Curve:
    """Return the mean reward of every step that has one."""
    return [(step, mean) for step, rows in by_step(groups) if (mean := _mean_reward(rows)) is not None]


def components_of(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the components that any group has, the task's first."""
    return list(dict.fromkeys(name for group in groups for name in group["components"]))


def _components(healths: Mapping[str, Health]) -> list[str]:
    """Return the components to show: none where every reward is the task's own."""
    groups = [group for health in healths.values() for group in health.groups]
    return [] if all(group["rewards"] == group["components"]["task"] for group in groups) else components_of(groups)


def _clipped(group: Mapping[str, Any]) -> float:
    return group["clipped"] / len(group["rewards"])


def _mean_reward(groups: Sequence[Mapping[str, Any]]) -> float | None:
    return _mean_scored(reward for group in groups for reward in group["rewards"])


def mean_component(groups: Sequence[Mapping[str, Any]], name: str) -> float | None:
    return _mean_scored(value for group in groups for value in group["components"].get(name, []))


def _mean_scored(values: Iterable[float | None]) -> float | None:
    scored = [value for value in values if value is not None]
    return _mean(scored) if scored else None


def spans(curve: Curve) -> Curve:
    """Return the means of at most ``POINTS`` spans of equally many steps."""
    size = -(-len(curve) // POINTS)
    spans = [curve[i : i + size] for i in range(0, len(curve), size or 1)]
    return [(_mean([step for step, _ in span]), _mean([value for _, value in span])) for span in spans]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def ends(curve: Curve) -> tuple[float | None, float | None]:
    return (curve[0][1], curve[-1][1]) if curve else (None, None)


def _in_words(healths: Mapping[str, Health], panels: Sequence[str]) -> str:
    parts: list[str] = []
    for variant, health in healths.items():
        found = {name: ends(health.curves[name]) for name in panels if health.curves.get(name)}
        said = [f"{_plainly(name)} {first:.3f} to {last:.3f}" for name, (first, last) in found.items()]
        said += [] if health.beta else [f"{PANELS['kl']} {NO_DIVERGENCE}"]
        parts.append(f"{variant}: {', '.join(said)}")
    return "Panels over the steps, first and last point. " + "; ".join(parts)


def _plainly(name: str) -> str:
    return panel(name).replace("\n", " ")
