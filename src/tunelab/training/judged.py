"""Judges as rewards: whose answers each one judges, asked for a whole step at once while the scorers are at work.

A judge is a function from exchanges to verdicts: the same one, over the same replies, that judges an evaluation. How
it asks (in batches, or many requests at a time) is its own business. One that has nothing to say for several steps in a
row ends the training, which goes on from its last checkpoint: rewards that are missing without anybody noticing teach
the rest of the mixture only.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

from tunelab.data.mixtures import TASK
from tunelab.data.sample import Sample
from tunelab.errors import DataError, StepError
from tunelab.scoring.judges.exchange import Exchange
from tunelab.scoring.judges.judge import Verdict
from tunelab.tasks.accepted import accepted_answers, exchange_of
from tunelab.tasks.mixed import Mixed
from tunelab.tasks.task import Task
from tunelab.training.recipe import Rewards, of_judge

Ask = Callable[[Sequence[Exchange]], list[Verdict]]
Verdicts = list[dict[str, Verdict]]
"""By completion, what each judge that is of its task says, by the reward's name."""
CHECKED = 8
"""Gold answers of each task that a judge must tell from garbage before a training starts."""
SILENT_STEPS = 5
"""Steps in a row without any verdict of a judge after which a training stops."""


class JudgedRewards:
    """The judges of a training."""

    def __init__(self, task: Task, declared: Rewards, judges: Mapping[str, Ask]) -> None:
        self._task = task
        self._judges = {name: (frozenset(judge.of), judges[name]) for name, judge in declared.judges.items()}
        self._silent = dict.fromkeys(self._judges, 0)

    def start(self, samples: Sequence[Sample], texts: Sequence[str]) -> Future[Verdicts]:
        """Ask about some completions, and return at once. Whoever is interrupted need not wait for the answers."""
        found: Future[Verdicts] = Future()

        def ask() -> None:
            try:
                found.set_result(self.verdicts(samples, texts))
            except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
                found.set_exception(error)

        threading.Thread(target=ask, daemon=True).start()
        return found

    def verdicts(self, samples: Sequence[Sample], texts: Sequence[str]) -> Verdicts:
        """Return what the judges say of completions, of each those whose tasks they are of."""
        found: Verdicts = [{} for _ in samples]
        for name, (of, ask) in self._judges.items():
            places = [i for i, sample in enumerate(samples) if self._is_of(sample, of)]
            if places:
                said = ask([exchange_of(self._task, samples[i], texts[i]) for i in places])
                for i, verdict in zip(places, said, strict=True):
                    found[i][of_judge(name)] = verdict
        return found

    def _is_of(self, sample: Sample, of: frozenset[str]) -> bool:
        """Say whether a judge is of a sample; where there is one task, the study has seen to it that it is the one."""
        return not of or not isinstance(self._task, Mixed) or sample.metadata[TASK] in of

    def heard(self, step: Verdicts) -> None:
        """Count the steps in which a judge that was asked said nothing at all. Raises StepError after several."""
        for name in self._judges:
            said = [verdicts[of_judge(name)] for verdicts in step if of_judge(name) in verdicts]
            if said:
                silent = all(verdict.value is None for verdict in said)
                self._silent[name] = self._silent[name] + 1 if silent else 0
            if self._silent[name] >= SILENT_STEPS:
                raise StepError(
                    f"grpo.rewards.judges.{name}: no verdict in {SILENT_STEPS} steps in a row, lastly because of "
                    f"{said[-1].reason!r}; see to the judge and run again to go on from the last checkpoint"
                )

    def check(self, samples: Sequence[Sample], garbage: str) -> None:
        """Raise DataError for a judge that does not tell a task's gold answers from garbage: it would reward noise."""
        of_task: defaultdict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            of_task[sample.metadata.get(TASK, self._task.name)].append(sample)
        for name, (of, _) in self._judges.items():
            for task, rows in of_task.items():
                if self._is_of(rows[0], of):
                    self._check(name, task, rows[:CHECKED], garbage)

    def _check(self, name: str, task: str, samples: Sequence[Sample], garbage: str) -> None:
        accepted = [(sample, found[0]) for sample in samples if (found := accepted_answers(self._task, sample))]
        rows = [sample for sample, _ in accepted]
        gold = self._mean(name, rows, [text for _, text in accepted])
        noise = self._mean(name, rows, [garbage] * len(rows))
        if gold is None or noise is None or gold <= noise:
            raise DataError(
                f"grpo.rewards.judges.{name}: got {_shown(gold)} for {len(rows)} accepted answers of {task} and "
                f"{_shown(noise)} for {garbage!r}, expected more for what is right; use another judge or guideline"
            )

    def _mean(self, name: str, samples: Sequence[Sample], texts: Sequence[str]) -> float | None:
        said = [found[of_judge(name)].value for found in self.verdicts(samples, texts)]
        values = [value for value in said if value is not None]
        return sum(values) / len(values) if values else None


def _shown(mean: float | None) -> str:
    return "no verdict" if mean is None else f"{mean:.2f}"
