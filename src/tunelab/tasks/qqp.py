"""QQP: whether two questions from Quora ask the same (as in GLUE).

Reported are accuracy, the headline and reward, and F1 of the positive class, which is computed from the counts
over all pairs. The test labels are hidden: evaluate on validation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.scoring.labels import ACCURACY, class_counts, f1, judged_label
from tunelab.scoring.score import Metric, Score
from tunelab.tasks.samples import checked_label, checked_rows

LABELS = ("no", "yes")
"""In the data set's order: 1 is a duplicate."""
F1 = Metric("f1", binary=False, total=f1)


class Qqp:
    """nyu-mll/glue, qqp: 363,846 training and 40,430 validation pairs, 37 % of them duplicates."""

    name = "qqp"
    version = 1
    scorer_version = 1
    dataset: Dataset | None = Dataset(
        repo="nyu-mll/glue",
        config="qqp",
        revision="bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
        splits={"train": "train", "validation": "validation"},
        columns=("question1", "question2", "label"),
        sizes={"train": 363846, "validation": 40430},
    )
    train_split = "train"
    test_split = "validation"
    metrics = (ACCURACY, F1)
    stop: tuple[str, ...] = ()
    max_new_tokens = 8

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        for index, row in enumerate(checked_rows(self, split, source)):
            label = checked_label(self, split, index, row["label"], LABELS)
            fields = {name: row[name].strip() for name in ("question1", "question2")}
            yield Sample(f"{split}-{index}", fields, (label,), {"index": index})

    def messages(self, sample: Sample) -> list[Message]:
        pair = f"First: {sample.fields['question1']}\nSecond: {sample.fields['question2']}"
        return [Message("user", f"{pair}\nDo the two questions ask the same, yes or no?")]

    def choices(self, sample: Sample) -> tuple[str, ...]:
        return LABELS

    def target(self, sample: Sample) -> str:
        return sample.targets[0]

    def score(self, sample: Sample, output: str) -> Score:
        score = judged_label(output, LABELS, sample.targets)
        counts = class_counts(score.answer, sample.targets, LABELS[1])
        return replace(score, values={**score.values, F1.name: f1(counts)}, parts={F1.name: counts})
