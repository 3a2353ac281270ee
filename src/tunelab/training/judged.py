"""Judges as rewards: whose answers each one judges, asked for a whole step at once while the scorers are at work.

A judge is a function from exchanges to verdicts, 1 to 0, None where there is none: the same one, over the same replies,
that judges an evaluation. How it asks (in batches, or many requests at a time) is its own business.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from tunelab.data.sample import Sample
from tunelab.errors import DataError
from tunelab.scoring.judges.exchange import Exchange
from tunelab.tasks.accepted import accepted_answers, exchange_of
from tunelab.tasks.mixed import task_name
from tunelab.tasks.task import Task
from tunelab.training.recipe import Rewards, of_judge

Ask = Callable[[Sequence[Exchange]], list[float | None]]
Verdicts = list[dict[str, float | None]]
"""By completion, what each judge that is of its task says, by the reward's name."""
CHECKED = 8
"""Gold answers that a judge must tell from garbage before a training starts."""


class JudgedRewards:
    """The judges of a training."""

    def __init__(self, task: Task, declared: Rewards, judges: Mapping[str, Ask]) -> None:
        self._task = task
        self._judges = {name: (frozenset(judge.of), judges[name]) for name, judge in declared.judges.items()}

    def start(self, samples: Sequence[Sample], texts: Sequence[str]) -> Future[Verdicts]:
        """Ask about some completions, and return at once; nobody is asked where no judge is of their tasks."""
        thread = ThreadPoolExecutor(1)
        found = thread.submit(self.verdicts, samples, texts)
        thread.shutdown(wait=False)
        return found

    def verdicts(self, samples: Sequence[Sample], texts: Sequence[str]) -> Verdicts:
        """Return what the judges say of completions, and of which of them they say nothing."""
        found: Verdicts = [{} for _ in samples]
        for name, (of, ask) in self._judges.items():
            places = [i for i, sample in enumerate(samples) if not of or task_name(self._task, sample) in of]
            if places:
                said = ask([exchange_of(self._task, samples[i], texts[i]) for i in places])
                for i, value in zip(places, said, strict=True):
                    found[i][of_judge(name)] = value
        return found

    def check(self, samples: Sequence[Sample], garbage: str) -> None:
        """Raise DataError for a judge that does not tell a task's gold answers from garbage: it would reward noise."""
        of_task: defaultdict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            of_task[task_name(self._task, sample)].append(sample)
        for name, (of, _) in self._judges.items():
            for task, rows in of_task.items():
                if not of or task in of:
                    self._check(name, task, rows[:CHECKED], garbage)

    def _check(self, name: str, task: str, samples: Sequence[Sample], garbage: str) -> None:
        gold = self._mean(name, samples, [accepted_answers(self._task, sample)[0] for sample in samples])
        noise = self._mean(name, samples, [garbage] * len(samples))
        if gold is None or noise is None or gold <= noise:
            raise DataError(
                f"grpo.rewards.judges.{name}: got {_shown(gold)} for {len(samples)} accepted answers of {task} and "
                f"{_shown(noise)} for {garbage!r}, expected more for what is right; use another judge or guideline"
            )

    def _mean(self, name: str, samples: Sequence[Sample], texts: Sequence[str]) -> float | None:
        said = [found.get(of_judge(name)) for found in self.verdicts(samples, texts)]
        values = [value for value in said if value is not None]
        return sum(values) / len(values) if values else None


def _shown(mean: float | None) -> str:
    return "no verdict" if mean is None else f"{mean:.2f}"
