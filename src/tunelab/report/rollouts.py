"""The health of GRPO: is there a reward to learn from, and is the policy still exploring?

Read from a train step's ``rollouts.jsonl``, which has a line a group, and from the trainer's ``metrics.jsonl``. A
group whose scored completions earned the same teaches nothing; a completion that the budget cut says little. The
components of the reward are shown where a variant has more than the task's, unweighted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tunelab.engine.record import Artifact
from tunelab.files import read_lines
from tunelab.report.curves import METRICS
from tunelab.report.drawing import COLOURS, GRID, LINES, Picture, label, legend, new_figure
from tunelab.report.tables import Table, share

TITLE = "Health of reinforcement learning over optimiser steps"
ROLLOUTS = "rollouts.jsonl"
POINTS = 40
"""A curve's points at most: each is the mean of a span of steps, since single steps are noisy."""
PANELS = {
    "reward": "mean reward",
    "task": "mean task reward",
    "format": "mean format reward",
    "length": "mean length reward",
    "zero_variance": "groups without\nvariance",
    "clipped": "completions cut\nby the budget",
    "entropy": "entropy (nats)",
    "kl": "KL from the base",
}
COMPONENTS = ("task", "format", "length")
SHARES = ("reward", "task", "format", "zero_variance", "clipped")
LOGGED = ("entropy", "kl")
NO_DIVERGENCE = "not computed (beta 0)"

Curve = list[tuple[float, float]]


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
    hidden = {*COMPONENTS} - {*_components(healths)}
    panels = [n for n in PANELS if n not in hidden and any(health.curves[n] for health in healths.values())]
    figure, grid = new_figure(9, 1.0 + 1.7 * len(panels), len(panels))
    for name, axes in zip(panels, grid, strict=True):
        for i, (variant, health) in enumerate(healths.items()):
            steps, values = [s for s, _ in health.curves[name]], [v for _, v in health.curves[name]]
            look: dict[str, Any] = {
                "color": COLOURS[i % len(COLOURS)],
                "linestyle": LINES[i % len(LINES)],
                "marker": ".",
            }
            axes.plot(steps, values, **look, linewidth=1.6, label=label(variant))
        axes.set_ylabel(PANELS[name], fontsize=9)
        axes.grid(color=GRID)
        if name in SHARES and all(0 <= value <= 1 for health in healths.values() for _, value in health.curves[name]):
            axes.set_ylim(-0.03, 1.03)
    grid[-1].set_xlabel("optimiser step")
    legend(grid[0])
    return Picture("grpo_health", TITLE, _in_words(healths, panels), figure)


def health_table(healths: Mapping[str, Health]) -> Table:
    """A row per variant: where the reward began and ended, and how much of the work could teach."""
    named = _components(healths)
    columns = ("variant", "first reward", "last reward", *(PANELS[name] for name in named), "groups without variance",
               "completions cut by the budget", "without an answer", "unscored", "visits to prompts",
               "prompts visited", "first entropy", "last entropy", "last KL from the base")  # fmt: skip
    rows: list[list[Any]] = []
    for name, health in healths.items():
        rewards: list[Any] = [reward for group in health.groups for reward in group["rewards"]]
        counts = [
            share(sum(_still(group) for group in health.groups), len(health.groups)),
            share(sum(group["clipped"] for group in health.groups), len(rewards)),
            share(sum(group["no_answer"] for group in health.groups), len(rewards)),
            share(sum(reward is None for reward in rewards), len(rewards)),
        ]
        prompts = [len(health.groups), len({group["id"] for group in health.groups})]
        logged = [*_ends(health.curves["entropy"]), _ends(health.curves["kl"])[1] if health.beta else NO_DIVERGENCE]
        means = [_mean_component(health.groups, component) for component in named]
        rows.append([name, *_ends(health.curves["reward"]), *means, *counts, *prompts, *logged])
    caption = f"Rewards and groups of GRPO; first and last are means over a {POINTS}th of the steps, at least one"
    return Table(caption, columns, rows)


def _read(artifact: Artifact) -> Health:
    files = artifact.record.files
    groups = read_lines(artifact.path(ROLLOUTS)) if ROLLOUTS in files else []
    logged = read_lines(artifact.path(METRICS)) if METRICS in files else []
    steps = [(step + 1, list(rows)) for step, rows in groupby(groups, key=lambda group: group["step"])]
    curves = {
        "reward": [(step, mean) for step, rows in steps if (mean := _mean_reward(rows)) is not None],
        **{
            name: [(step, mean) for step, rows in steps if (mean := _mean_component(rows, name)) is not None]
            for name in COMPONENTS
        },
        "zero_variance": [(step, _mean([_still(group) for group in rows])) for step, rows in steps],
        "clipped": [(step, _mean([_clipped(group) for group in rows])) for step, rows in steps],
        **{name: [(r["step"], r[name]) for r in logged if r.get(name) is not None] for name in LOGGED},
    }
    beta = artifact.record.settings["recipe"]["grpo"]["beta"]
    return Health(groups, {name: _spans(curve) for name, curve in curves.items()}, beta)


def _components(healths: Mapping[str, Health]) -> list[str]:
    """Return the components to show: none where every reward is the task's own."""
    groups = [group for health in healths.values() for group in health.groups]
    if all(group["rewards"] == group["components"]["task"] for group in groups):
        return []
    return [name for name in COMPONENTS if any(name in group["components"] for group in groups)]


def _still(group: Mapping[str, Any]) -> bool:
    """Say whether the scored completions of a group all earned the same."""
    return len({reward for reward in group["rewards"] if reward is not None}) < 2


def _clipped(group: Mapping[str, Any]) -> float:
    return group["clipped"] / len(group["rewards"])


def _mean_reward(groups: Sequence[Mapping[str, Any]]) -> float | None:
    return _mean_scored(reward for group in groups for reward in group["rewards"])


def _mean_component(groups: Sequence[Mapping[str, Any]], name: str) -> float | None:
    return _mean_scored(value for group in groups for value in group["components"].get(name, []))


def _mean_scored(values: Iterable[float | None]) -> float | None:
    scored = [value for value in values if value is not None]
    return _mean(scored) if scored else None


def _spans(curve: Curve) -> Curve:
    """Return the means of at most ``POINTS`` spans of equally many steps."""
    size = -(-len(curve) // POINTS)
    spans = [curve[i : i + size] for i in range(0, len(curve), size or 1)]
    return [(_mean([step for step, _ in span]), _mean([value for _, value in span])) for span in spans]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _ends(curve: Curve) -> tuple[float | None, float | None]:
    return (curve[0][1], curve[-1][1]) if curve else (None, None)


def _in_words(healths: Mapping[str, Health], panels: Sequence[str]) -> str:
    parts: list[str] = []
    for name, health in healths.items():
        ends = {panel: _ends(health.curves[panel]) for panel in panels if health.curves[panel]}
        said = [f"{PANELS[p].replace(chr(10), ' ')} {first:.3f} to {last:.3f}" for p, (first, last) in ends.items()]
        said += [] if health.beta else [f"{PANELS['kl']} {NO_DIVERGENCE}"]
        parts.append(f"{name}: {', '.join(said)}")
    return "Panels over the steps, first and last point. " + "; ".join(parts)
