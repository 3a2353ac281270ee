"""Rewards tried out before a training: what is right must earn 1 and what is nonsense 0, task by task.

A reward that never fires teaches nothing. Real data sets have a few references that their own tests refuse, like a
program that takes too long; a task may have one in ten of these, and they are named in the record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from tunelab.data.mixtures import TASK
from tunelab.data.sample import Sample
from tunelab.errors import DataError
from tunelab.tasks.mixed import own_task
from tunelab.tasks.scored import score_all
from tunelab.tasks.task import Task
from tunelab.training.rewards import task_reward

CHECKED = 20
"""Rows of each task whose gold answers are tried out."""
REFUSED = 0.1
"""Share of a task's gold answers that may earn less than 1."""
GARBAGE = "zxqv blorp"
"""Words, because a mark alone is a right answer where nothing is: SQuAD drops punctuation."""


def first_of_each_task(samples: Sequence[Sample], number: int = CHECKED) -> dict[str, list[Sample]]:
    """Return the first samples of every task by its name, as many of each; of one task under an empty name."""
    found: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[sample.metadata.get(TASK, "")].append(sample)
    return {name: members[:number] for name, members in found.items()}


def check_reward(task: Task, samples: Sequence[Sample]) -> list[str]:
    """Return the ids of gold answers that earn less than 1. Raises DataError for too many, or where garbage earns."""
    refused: list[str] = []
    for members in first_of_each_task(samples, len(samples)).values():
        refused += _refused(task, members)
    return refused


def _refused(task: Task, samples: Sequence[Sample]) -> list[str]:
    name = own_task(task, samples[0]).name
    gold = score_all(task, samples, lambda i: task_reward(task, task.score(samples[i], task.target(samples[i]))))
    garbage = score_all(task, samples, lambda i: task_reward(task, task.score(samples[i], GARBAGE)))
    refused = [i for i, value in enumerate(gold) if value is None or abs(value - 1) > 1e-6]
    earning = [i for i, value in enumerate(garbage) if value != 0]
    if earning or len(refused) > REFUSED * len(samples):
        i = (earning or refused)[0]
        raise DataError(
            f"reward of task {name} on {samples[i].id}: got {gold[i]} for its own target and {garbage[i]} for "
            f"{GARBAGE!r}, expected 1 and 0 ({len(refused)} of {len(samples)} targets earn less than 1, {len(earning)} "
            "times garbage earns); mend the scorer or the targets"
        )
    return [samples[i].id for i in refused]
