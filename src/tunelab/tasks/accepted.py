"""The answers that a task accepts, and what a judge is shown of an output: the same for every task.

A task says with ``accepted`` where its targets are more than the answer, as a worked solution is. A task whose outputs
are judged has no accepted answers and says itself what is shown.
"""

from __future__ import annotations

from tunelab.data.sample import Sample
from tunelab.scoring.judges.exchange import Exchange
from tunelab.tasks.mixed import own_task
from tunelab.tasks.task import HasAnswers, Task, is_judged


def accepted_answers(task: Task, sample: Sample) -> tuple[str, ...]:
    """Return the accepted answers of a sample, at least one where it has a target at all."""
    own = own_task(task, sample)
    if isinstance(own, HasAnswers):
        return own.accepted(sample)
    return tuple(text for text in sample.targets if text) or tuple(filter(None, [own.target(sample)]))


def exchange_of(task: Task, sample: Sample, output: str) -> Exchange:
    """Return what was asked and answered, with the accepted answers of a task that has some."""
    own = own_task(task, sample)
    if is_judged(own):
        return Exchange(*own.exchange(sample, output))
    asked = [message.content for message in own.messages(sample) if message.role == "user"]
    return Exchange("\n\n".join(asked), output, accepted_answers(own, sample))
