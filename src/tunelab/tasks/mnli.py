"""MNLI: whether a premise entails a hypothesis, contradicts it, or neither (Williams et al. 2018, as in GLUE).

The test labels are hidden. Of the two validation splits, ``validation_matched`` has the genres of training and
``validation_mismatched`` others; they are two evaluations and are never pooled.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.scoring.labels import ACCURACY, judged_label
from tunelab.scoring.score import Score
from tunelab.tasks.samples import checked_label, checked_rows

LABELS = ("entailment", "neutral", "contradiction")
"""In the data set's order: 0 is entailment."""


class Mnli:
    """nyu-mll/glue, mnli: 392,702 training pairs and two validation splits of about 9,800."""

    name = "mnli"
    version = 1
    scorer_version = 1
    dataset: Dataset | None = Dataset(
        repo="nyu-mll/glue",
        config="mnli",
        revision="bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
        splits={name: name for name in ("train", "validation_matched", "validation_mismatched")},
        columns=("premise", "hypothesis", "label"),
        sizes={"train": 392702, "validation_matched": 9815, "validation_mismatched": 9832},
    )
    train_split = "train"
    test_split = "validation_matched"
    metrics = (ACCURACY,)
    stop: tuple[str, ...] = ()
    max_new_tokens = 8

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        for index, row in enumerate(checked_rows(self, split, source)):
            label = checked_label(self, split, index, row["label"], LABELS)
            fields = {name: row[name].strip() for name in ("premise", "hypothesis")}
            yield Sample(f"{split}-{index}", fields, (label,), {"index": index})

    def messages(self, sample: Sample) -> list[Message]:
        pair = f"Premise: {sample.fields['premise']}\nHypothesis: {sample.fields['hypothesis']}"
        return [Message("user", f"{pair}\nIs the hypothesis an entailment of the premise, neutral or a contradiction?")]

    def choices(self, sample: Sample) -> tuple[str, ...]:
        return LABELS

    def target(self, sample: Sample) -> str:
        return sample.targets[0]

    def score(self, sample: Sample, output: str) -> Score:
        return judged_label(output, LABELS, sample.targets)
