"""The contract of a task: what one must have, and what it may have beside it.

A task is a plain object with the attributes of ``Task``. The scorer is also the reward, so training and evaluation
cannot drift apart. How tasks are found is in ``tunelab.tasks.find``, what is checked of their rows in
``tunelab.tasks.samples``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeGuard, runtime_checkable

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.scoring.judges.judge import Verdict
from tunelab.scoring.score import Metric, Score

CHOICES = "choices"
"""The method that only a task with choices has."""
OF_JUDGED = ("exchange", "judged_score")
"""The methods that only a task whose outputs are judged has."""
GROUPS = "groups"
CLUSTERS = "clusters"
"""The constant by which tasks say that they have the same clusters: a name that they share, else each its own."""


class Task(Protocol):
    """What a task must have. Attributes are constants of the task, methods are pure."""

    name: str
    version: int
    """Raise it when ``load``, ``messages`` or ``target`` changes: results of both must not mix."""
    scorer_version: int
    """Raise it when ``score`` changes: outputs are scored anew, and nothing is generated anew."""
    dataset: Dataset | None
    """Where the rows live on the hub; None for a task that generates its rows."""
    train_split: str
    """Empty for a task that is only evaluated."""
    test_split: str
    metrics: tuple[Metric, ...]
    """The first one is the headline and the reward."""
    stop: tuple[str, ...]
    """Strings that end a generation, besides the end of turn."""
    max_new_tokens: int

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        """Yield a split's samples in the dataset's order."""
        ...

    def messages(self, sample: Sample) -> list[Message]:
        """Return the conversation up to the answer; the format decides how it becomes tokens."""
        ...

    def target(self, sample: Sample) -> str:
        """Return what supervised training teaches."""
        ...

    def score(self, sample: Sample, output: str) -> Score:
        """Score one output against ``sample.targets``."""
        ...


class ChoiceTask(Task, Protocol):
    """A task whose answer is one of a few: labels of a class, or the options of a question."""

    def choices(self, sample: Sample) -> tuple[str, ...]:
        """Return the answers to choose from, in label order; ``target`` returns one of them."""
        ...


def has_choices(task: Task) -> TypeGuard[ChoiceTask]:
    """Say whether a task's answer is one of a few."""
    return hasattr(task, CHOICES)


class JudgedTask(Task, Protocol):
    """A task without gold answers: judges read what was asked and answered. ``score`` alone leaves it unscored."""

    def exchange(self, sample: Sample, output: str) -> tuple[str, str]:
        """Return what the user asked and what the model answered, as a judge reads them."""
        ...

    def judged_score(self, sample: Sample, output: str, verdicts: Mapping[str, Verdict]) -> Score:
        """Score one output by the verdicts of its judges, by name; the first gives the headline."""
        ...


def is_judged(task: Task) -> TypeGuard[JudgedTask]:
    """Say whether a task's outputs are judged."""
    return all(hasattr(task, name) for name in OF_JUDGED)


def groups_of(task: Task) -> tuple[str, ...]:
    """Return the metadata by which a task's results are also shown in groups: its ``groups``; optional."""
    return getattr(task, GROUPS, ())


def is_sensitive(task: Task) -> bool:
    """Say whether a task's samples are only quoted by their first words: its ``sensitive``; optional."""
    return getattr(task, "sensitive", False) is True


@runtime_checkable
class HasReceipt(Protocol):
    """A task that finds out how a file is to be read, and says so; optional."""

    def receipt(self, split: str, source: Source | None) -> dict[str, Any]:
        """Return, as plain JSON, what the receipt of a split's rows adds: columns that were found, rows left out."""
        ...


@runtime_checkable
class HasAnswers(Protocol):
    """A task whose accepted answers are not its targets: a number at the end of a worked solution; optional."""

    def accepted(self, sample: Sample) -> tuple[str, ...]:
        """Return the accepted answers, the first the plainest. Raise ``scorer_version`` when this changes."""
        ...


@runtime_checkable
class MarksAnswers(Protocol):
    """A task that can tell an explicit answer from one that its scorer had to guess; optional."""

    def explicit(self, output: str) -> bool:
        """Say whether the output gives its answer behind a marker. Raise ``scorer_version`` when this changes."""
        ...
