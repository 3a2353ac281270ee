"""SST-2: whether a sentence from a film review is negative or positive (Socher et al. 2013, as in GLUE).

The test labels are hidden, so the validation split is the one to evaluate on.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.scoring.labels import ACCURACY, judged_label
from tunelab.scoring.score import Score
from tunelab.tasks.samples import checked_label, checked_rows

LABELS = ("negative", "positive")
"""In the data set's order: 0 is negative."""


class Sst2:
    """stanfordnlp/sst2: 67,349 training phrases and 872 validation sentences."""

    name = "sst2"
    version = 1
    scorer_version = 1
    dataset: Dataset | None = Dataset(
        repo="stanfordnlp/sst2",
        config="default",
        revision="8d51e7e4887a4caaa95b3fbebbf53c0490b58bbb",
        splits={"train": "train", "validation": "validation"},
        columns=("sentence", "label"),
        sizes={"train": 67349, "validation": 872},
    )
    train_split = "train"
    test_split = "validation"
    metrics = (ACCURACY,)
    stop: tuple[str, ...] = ()
    max_new_tokens = 8

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        for index, row in enumerate(checked_rows(self, split, source)):
            label = checked_label(self, split, index, row["label"], LABELS)
            yield Sample(f"{split}-{index}", {"sentence": row["sentence"].strip()}, (label,), {"index": index})

    def messages(self, sample: Sample) -> list[Message]:
        return [Message("user", f"{sample.fields['sentence']}\nIs this review negative or positive?")]

    def choices(self, sample: Sample) -> tuple[str, ...]:
        return LABELS

    def target(self, sample: Sample) -> str:
        return sample.targets[0]

    def score(self, sample: Sample, output: str) -> Score:
        return judged_label(output, LABELS, sample.targets)
