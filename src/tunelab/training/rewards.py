"""What a completion earns in GRPO: the task's verdict first, and the extra rewards that a recipe declares.

An extra reward looks at how an answer was given, never at whether it is right, and is the same function for every
task. The weighted sum is made here and not by the trainer, which would count a verdict that is missing as zero: a
completion that the task cannot score has no reward, whatever its form and its length earn.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tunelab.errors import StudyError, nearest
from tunelab.scoring.score import Outcome, Score
from tunelab.tasks.task import MarksAnswers, Task
from tunelab.training.recipe import Rewards

BUFFER_SHARE = 5
"""The default buffer is a fifth of the budget, as in DAPO: 4,096 of 20,480 tokens."""

Components = Mapping[str, float | None]


@dataclass(frozen=True)
class Completion:
    """A completion as it is judged: its text, its length in tokens, and whether the budget cut it."""

    text: str
    tokens: int
    clipped: bool


def components(
    task: Task, score: Score, made: Completion, declared: Rewards, budget: int, judged: Components | None = None
) -> dict[str, float | None]:
    """Return the rewards that count by name, unweighted and ``task`` first; ``budget`` is in tokens.

    ``judged`` has the verdicts of the judges that are of the task.
    """
    earned: dict[str, float | None] = {
        "task": task_reward(task, score),
        "format": format_reward(task, score, made),
        "length": length_reward(made.tokens, budget, length_buffer(declared, budget)),
    }
    return {name: value for name, value in earned.items() if name in declared.weights()} | dict(judged or {})


def combined(earned: Components, weights: Mapping[str, float]) -> float | None:
    """Return the weighted sum, or None when a component is missing: not scored is not zero."""
    total = 0.0
    for name, value in earned.items():
        if value is None:
            return None
        total += weights[name] * value
    return total


def refuse_unjudged_tasks(declared: Rewards, tasks: Collection[str]) -> None:
    """Raise StudyError where a judge is of a task that is not trained on."""
    for name, judge in declared.judges.items():
        if unknown := [task for task in judge.of if task not in tasks]:
            raise StudyError(
                f"grpo.rewards.judges.{name}.of: got {unknown[0]!r}, expected a task of the entry"
                f"{nearest(unknown[0], tasks)}"
            )


def task_reward(task: Task, score: Score) -> float | None:
    """Return the headline as a fraction of 1, or None for an output that could not be scored."""
    headline = task.metrics[0]
    value = score.values.get(headline.name)
    return None if value is None else value / headline.scale


def format_reward(task: Task, score: Score, made: Completion) -> float:
    """Return 1 for an answer that was given explicitly by an output that ended by itself, else 0.

    Explicit is what the task says it is; for a task that does not say, an answer that its scorer could judge.
    """
    judged = score.outcome in (Outcome.CORRECT, Outcome.WRONG)
    explicit = task.explicit(made.text) if isinstance(task, MarksAnswers) else judged
    return float(explicit and judged and not made.clipped)


def length_buffer(declared: Rewards, budget: int) -> int:
    """Return the tokens before the budget in which the length penalty grows.

    Raises StudyError when a penalty's buffer is longer than the budget: it would punish even an empty answer.
    """
    buffer = declared.length_buffer or max(1, budget // BUFFER_SHARE)
    if declared.length and buffer > budget:
        raise StudyError(
            f"grpo.rewards.length_buffer: got {buffer} tokens, expected at most the budget of {budget}; "
            "lower it or raise grpo.max_new_tokens"
        )
    return buffer


def length_reward(tokens: int, budget: int, buffer: int) -> float:
    """Return 0 up to ``budget - buffer`` tokens and from there a line down to -1 at the budget.

    The soft overlong punishment of DAPO (Yu et al. 2025, equation 13). No completion is longer than the budget, so
    the range is -1 to 0.
    """
    return min(0.0, (budget - buffer - tokens) / buffer)
