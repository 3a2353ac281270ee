"""What is counted of a task's samples while they pass: lengths, repeats, groups, answers and their places."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tunelab.data.sample import Sample
from tunelab.data.statistics import Coded, Columns, answered_differently, describe, hash_text, histogram, repeats
from tunelab.errors import DataError, nearest
from tunelab.models.token_counts import TokenCounter
from tunelab.stats.positions import position_bias
from tunelab.tasks.samples import question_text
from tunelab.tasks.task import ChoiceTask, Task, groups_of, has_choices

CHARACTERS = "characters"
PROMPT, TARGET = "prompt", "target"
SPLIT, ANSWER, CHOICES = "split", "answer", "choices"
LACKING = "—"
"""Stands for metadata that a sample does not have."""
Distribution = list[dict[str, Any]]


class SampleCounts:
    """Takes samples in batches and keeps a few numbers of each."""

    def __init__(self, task: Task, counters: Mapping[str, TokenCounter], by: Sequence[str]) -> None:
        self.task = task
        self.counters = counters
        self.by = list(dict.fromkeys(by))
        self.rows = 0
        self.fields = Columns()
        """The samples' own fields: the columns of a task that makes its rows."""
        self._groups = {name: Coded() for name in dict.fromkeys([SPLIT, *groups_of(task), *by])}
        texts = (PROMPT, TARGET) if task.train_split else (PROMPT,)
        self._lengths = {(text, unit): array("i") for text in texts for unit in (CHARACTERS, *counters)}
        self._blank = Counter[str]()
        self._questions, self._answers = array("Q"), array("Q")
        self._choices = _ChoiceCounts()

    def add(self, split: str, batch: Sequence[Sample]) -> None:
        """Count a batch of one split's samples. Raises DataError for a group that samples do not have."""
        if not self.rows:
            self._check_groups(batch[0])
        self.rows += len(batch)
        for sample in batch:
            self._add_sample(split, sample)
        self._measure(PROMPT, [_prompt(self.task, sample) for sample in batch])
        if (TARGET, CHARACTERS) in self._lengths:
            self._measure(TARGET, [_text(self.task.target(sample)) for sample in batch])

    def _check_groups(self, sample: Sample) -> None:
        for name in self.by:
            if name != SPLIT and name not in sample.metadata:
                known = (SPLIT, *sample.metadata)
                raise DataError(f"--by: got {name!r}, expected a name of the samples' metadata{nearest(name, known)}")

    def _add_sample(self, split: str, sample: Sample) -> None:
        for name, column in self._groups.items():
            column.add(split if name == SPLIT else str(sample.metadata.get(name, LACKING)))
        self._questions.append(hash_text(self._asked(sample)))
        self._answers.append(hash_text(repr(sample.targets)))
        if self.task.dataset is None:
            self.fields.add(sample.fields)
        if has_choices(self.task):
            self._choices.add(self.task, sample)

    def _asked(self, sample: Sample) -> str:
        """Return what leaks are found by; of a sample whose fields are all null, what its prompt says without them."""
        texts = [value for value in sample.fields.values() if isinstance(value, str)]
        return question_text(self.task, sample) if texts else _prompt(self.task, sample)

    def _measure(self, text: str, contents: Sequence[str]) -> None:
        """Append the lengths of a batch of texts, and count those without words."""
        self._blank[text] += sum(not content.strip() for content in contents)
        self._lengths[text, CHARACTERS].extend(map(len, contents))
        for name, counter in self.counters.items():
            self._lengths[text, name].extend(counter.count(contents))

    def results(self, limits: Sequence[int]) -> dict[str, Any]:
        """Return everything that was counted, of at least one row, as plain JSON."""
        groups = {name: _shares(_count(column)) for name, column in self._groups.items()}
        return {
            "samples": self.rows,
            "blank": dict(self._blank),
            "repeats": self._repeats(),
            "distributions": {**groups, **self._choices.distributions()},
            "places": self._choices.places(),
            "lengths": [line for text, unit in self._lengths for line in self._described(text, unit, limits)],
        }

    def of_split(self, split: str) -> int:
        """Return how many samples a split gave."""
        return _count(self._groups[SPLIT])[split]

    def _repeats(self) -> list[dict[str, Any]]:
        """Return for each split, and for all of them together, how many samples ask what an earlier one asks."""
        column = self._groups[SPLIT]
        codes, questions, answers = column.codes(), np.array(self._questions), np.array(self._answers)
        chosen = {split: codes == code for split, code in column.values.items()}
        if len(chosen) > 1:
            chosen["all"] = np.ones(self.rows, dtype=bool)
        return [
            {
                "split": split,
                "samples": int(rows.sum()),
                "repeated_questions": repeats(questions[rows].tolist()),
                "answered_differently": answered_differently(questions[rows].tolist(), answers[rows].tolist()),
            }
            for split, rows in chosen.items()
        ]

    def _described(self, text: str, unit: str, limits: Sequence[int]) -> list[dict[str, Any]]:
        """Describe the lengths of a text in one unit, of all samples and by group."""
        lengths = np.array(self._lengths[text, unit], dtype=np.int32)
        head = {"text": text, "unit": unit}
        whole = {**describe(lengths, limits), "histogram": histogram(lengths)}
        lines: list[dict[str, Any]] = [{**head, "by": None, "group": "all", **whole}]
        for name in self.by:
            codes = self._groups[name].codes()
            for value, code in sorted(self._groups[name].values.items()):
                lines.append({**head, "by": name, "group": value, **describe(lengths[codes == code], limits)})
        return lines


class _ChoiceCounts:
    """Answers, numbers of choices, and where the right one stands."""

    def __init__(self) -> None:
        self._answers = Counter[str]()
        self._numbers = Counter[int]()
        self._places: dict[int, list[int]] = {}
        self._seen: set[int] = set()

    def add(self, task: ChoiceTask, sample: Sample) -> None:
        """Count one sample. A place counts once for each cluster: translations of a question share it."""
        choices, answer = task.choices(sample), task.target(sample)
        self._answers[answer] += 1
        self._numbers[len(choices)] += 1
        if answer not in choices:
            raise DataError(f"sample {sample.id}: got the answer {answer!r}, expected one of {', '.join(choices)}")
        cluster = hash_text(str(sample.metadata.get("cluster", sample.id)))
        if cluster not in self._seen:
            self._seen.add(cluster)
            self._places.setdefault(len(choices), [0] * len(choices))[choices.index(answer)] += 1

    def distributions(self) -> dict[str, Distribution]:
        """Return how often each answer and each number of choices occurs; nothing for a task without choices."""
        if not self._numbers:
            return {}
        answers = Counter({answer: self._answers[answer] for answer in sorted(self._answers)})
        numbers = Counter({str(number): self._numbers[number] for number in sorted(self._numbers)})
        return {ANSWER: _shares(answers), CHOICES: _shares(numbers)}

    def places(self) -> dict[str, Any] | None:
        """Return how often the answer stands at each place, how often it would by chance, and the test."""
        if not self._places:
            return None
        places = range(max(self._places))
        found = [sum(counts[i] for k, counts in self._places.items() if i < k) for i in places]
        expected = [sum(sum(counts) / k for k, counts in self._places.items() if i < k) for i in places]
        lines = [{"place": i + 1, "questions": found[i], "expected": expected[i]} for i in places]
        return {"places": lines, "test": position_bias(self._places)}


def _prompt(task: Task, sample: Sample) -> str:
    """Return a sample's messages as one text, without any template."""
    return "\n\n".join(_text(message.content) for message in task.messages(sample))


def _text(content: Any) -> str:
    """A null in the data is no text; it is counted as blank."""
    return content if isinstance(content, str) else ""


def _count(column: Coded) -> Counter[str]:
    """Count values, the most frequent first and equally frequent ones by name."""
    counts: Sequence[int] = np.bincount(column.codes(), minlength=len(column.values)).tolist()
    return Counter(dict(sorted(zip(column.values, counts, strict=True), key=lambda found: (-found[1], found[0]))))


def _shares(counts: Counter[str]) -> Distribution:
    total = counts.total()
    return [{"value": value, "rows": rows, "share": rows / total} for value, rows in counts.items()]
