"""CNN/DailyMail: a news article and the few sentences that its editors put above it.

Scored by ROUGE (see ``tunelab.scoring.rouge``), values as fractions of 1. The headline is ROUGE-Lsum, which papers on
this data set print as R-L; ``rougeL`` is another number. Both sides are split into sentences by one named rule.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.scoring.rouge import SPLITTER, TYPES, rouge
from tunelab.scoring.score import Metric, Score, judged
from tunelab.tasks.samples import checked_rows

PROMPT = """\
Summarise the article in three or four short sentences, one on each line. Write the summary only.

{article}"""
LIBRARY = "rouge-score, F-measure, Porter stemmer"


class CnnDailyMail:
    """abisee/cnn_dailymail 3.0.0: 287113 training, 13368 validation and 11490 test articles."""

    name = "cnn_dailymail"
    version = 1
    scorer_version = 1
    dataset: Dataset | None = Dataset(
        repo="abisee/cnn_dailymail",
        config="3.0.0",
        revision="96df5e686bee6baa90b8bee7c28b81fa3fa6223d",
        splits={"train": "train", "validation": "validation", "test": "test"},
        columns=("id", "article", "highlights"),
        sizes={"train": 287113, "validation": 13368, "test": 11490},
    )
    train_split = "train"
    test_split = "test"
    metrics = (
        Metric("rougeLsum", binary=False, definition=f"{LIBRARY}; {SPLITTER}"),
        Metric("rouge1", binary=False, definition=LIBRARY),
        Metric("rouge2", binary=False, definition=LIBRARY),
        Metric("rougeL", binary=False, definition=LIBRARY),
    )
    stop: tuple[str, ...] = ()
    max_new_tokens = 192

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        for index, row in enumerate(checked_rows(self, split, source)):
            metadata = {"id": row["id"], "index": index}
            yield Sample(f"{split}-{index}", {"article": row["article"]}, (row["highlights"],), metadata)

    def messages(self, sample: Sample) -> list[Message]:
        return [Message("user", PROMPT.format(article=sample.fields["article"]))]

    def target(self, sample: Sample) -> str:
        return sample.targets[0]

    def score(self, sample: Sample, output: str) -> Score:
        summary = output.strip()
        readings = [rouge(summary, target) for target in sample.targets]
        values = max(readings, key=lambda found: found["rougeLsum"], default=dict.fromkeys(TYPES, 0.0))
        return judged(values["rougeLsum"] == 1, summary or None, values)
