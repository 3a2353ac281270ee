"""Arithmetic: generated word problems in one or two steps, for the bundled model and for quick studies.

Nothing is downloaded: the rows come from ``arithmetic_problems``, where a hash of each problem decides whether
it belongs to training or to the test, so the two cannot overlap.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.errors import DataError
from tunelab.scoring import numbers
from tunelab.scoring.score import Metric, Score, judged
from tunelab.tasks.arithmetic_problems import problems

SIZES = {"train": 4000, "test": 1000}


class Arithmetic:
    """4000 training and 1000 test problems, the same in every run."""

    name = "arithmetic"
    version = 1
    scorer_version = 1
    dataset: Dataset | None = None
    train_split = "train"
    test_split = "test"
    metrics = (Metric("numeric"),)
    stop: tuple[str, ...] = ()
    answer_type = "number"
    max_new_tokens = 48

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        if split not in SIZES:
            raise DataError(f"task arithmetic: got the split {split!r}, expected train or test")
        for index, problem in enumerate(problems("train" if split == "train" else "test", SIZES[split])):
            worked = f"{problem.steps}\n#### {problem.answer}"
            yield Sample(f"{split}-{index}", {"question": problem.question}, (worked,), {"index": index})

    def messages(self, sample: Sample) -> list[Message]:
        return [Message("user", sample.fields["question"])]

    def target(self, sample: Sample) -> str:
        return sample.targets[0]

    def accepted(self, sample: Sample) -> tuple[str, ...]:
        return tuple(target.rpartition("#### ")[2] for target in sample.targets)

    def explicit(self, output: str) -> bool:
        return numbers.after_marker(output) is not None

    def score(self, sample: Sample, output: str) -> Score:
        golds = [numbers.numeric(target) for target in sample.targets]
        found = numbers.numeric(output)
        answer = None if found is None else numbers.plain(found)
        correct = found is not None and found in golds
        return judged(
            correct, answer, {"numeric": float(correct)}, f"gold {', '.join(self.accepted(sample)) or 'none'}"
        )
