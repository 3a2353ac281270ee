"""Several tasks as one: every sample is asked, taught and scored by the task that it came from.

``a + b`` is the name of such a task. It has no rows of its own: a mixture gives them, and each sample's metadata
name its task.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tunelab.data.mixtures import TASK
from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.errors import DataError
from tunelab.scoring.score import Metric, Score

if TYPE_CHECKING:
    from tunelab.tasks.task import Task

JOINT = " + "


class Mixed:
    """Routes each sample to its own task."""

    dataset: Dataset | None = None
    train_split = "train"
    test_split = "test"
    metrics = (Metric("reward", binary=False),)
    version = 1
    scorer_version = 1

    def __init__(self, members: dict[str, Task]) -> None:
        self.members = members
        self.name = JOINT.join(members)
        self.stop: tuple[str, ...] = tuple(dict.fromkeys(s for task in members.values() for s in task.stop))
        self.max_new_tokens = max(task.max_new_tokens for task in members.values())

    def of(self, sample: Sample) -> Task:
        """Return the task that a sample came from."""
        name = sample.metadata.get(TASK)
        if name not in self.members:
            raise DataError(f"sample {sample.id}: got task {name!r}, expected one of {', '.join(self.members)}")
        return self.members[name]

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        """Raise DataError: a mixture's rows are drawn from the rows of its tasks."""
        raise DataError(f"task {self.name}: has no rows of its own; rows are mixed from its tasks")

    def messages(self, sample: Sample) -> list[Message]:
        return self.of(sample).messages(sample)

    def target(self, sample: Sample) -> str:
        return self.of(sample).target(sample)

    def score(self, sample: Sample, output: str) -> Score:
        """Score by the sample's own task; ``values`` has its headline as a fraction of 1, under ``reward``."""
        task = self.of(sample)
        found = task.score(sample, output)
        headline = task.metrics[0]
        value = found.values.get(headline.name)
        values = {} if value is None else {"reward": value / headline.scale}
        return Score(found.outcome, values, found.answer, found.explanation)


def own_task(task: Task, sample: Sample) -> Task:
    """Return the task that a sample belongs to: of several mixed ones its own."""
    return task.of(sample) if isinstance(task, Mixed) else task
