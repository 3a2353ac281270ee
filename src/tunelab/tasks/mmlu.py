"""MMLU: four-option questions in 57 subjects (Hendrycks et al. 2021), in English.

Worked examples come from ``dev``, five questions a subject, which is also what little there is to train on. They are
the same for every question, unlike in the paper, which takes the five of the question's own subject.

A sample's id comes from what its row says. Its cluster is its place in the official file, from 0: that the rows of
MMMLU are numbered alike is what tunelab relies on, so a file in another order is no translation of those.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunelab.data.sample import Sample
from tunelab.data.sources import Dataset, Source
from tunelab.scoring.letters import LETTERS
from tunelab.tasks import multiple_choice as mc
from tunelab.tasks.languages import shared
from tunelab.tasks.row_keys import RowKeys
from tunelab.tasks.samples import checked_label, checked_rows


class Mmlu(mc.Lettered):
    """cais/mmlu: 285 questions to learn from (``dev``) and 14,042 test questions."""

    name = "mmlu"
    version = 2
    scorer_version = 2
    dataset: Dataset | None = Dataset(
        repo="cais/mmlu",
        config="all",
        revision="c30699e8356da336a370243923dbaf21066bb9fe",
        splits={"dev": "dev", "validation": "validation", "test": "test"},
        columns=("question", "subject", "choices", "answer"),
    )
    train_split = "dev"
    test_split = "test"
    groups = mc.GROUPS
    clusters = "mmlu"

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        keys = RowKeys()
        for number, row in enumerate(checked_rows(self, split, source)):
            where, item = mc.row_name(self, split, number), f"{split}-{number}"
            category = mc.category_of(row["subject"], where)
            fields = mc.lettered(row["question"], row["choices"], where)
            letter = checked_label(self, split, number, row["answer"], LETTERS[: len(row["choices"])])
            key = keys.key(row["subject"], row["question"], row["choices"], row["answer"])
            metadata = shared(item, "en", subject=row["subject"], category=category)
            yield Sample(f"{split}-{key}-en", fields, (letter,), metadata)
