"""GSM8K: grade-school word problems with a worked solution that ends in ``#### number``.

Three readings of every output are kept (see ``tunelab.scoring.numbers``). The headline and reward is
``numeric``; ``strict`` and ``flexible`` reproduce what the dataset's authors and lm-evaluation-harness report.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.errors import DataError
from tunelab.scoring import numbers
from tunelab.scoring.score import Metric, Score, judged
from tunelab.tasks.samples import checked_rows


class Gsm8k:
    """openai/gsm8k: 7473 training and 1319 test problems."""

    name = "gsm8k"
    version = 1
    scorer_version = 1
    dataset: Dataset | None = Dataset(
        repo="openai/gsm8k",
        config="main",
        revision="e53f048856ff4f594e959d75785d2c2d37b678ee",
        splits={"train": "train", "test": "test"},
        columns=("question", "answer"),
        sizes={"train": 7473, "test": 1319},
    )
    train_split = "train"
    test_split = "test"
    metrics = (Metric("numeric"), Metric("strict"), Metric("flexible"))
    stop: tuple[str, ...] = ()
    answer_type = "number"
    max_new_tokens = 512

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        for index, row in enumerate(checked_rows(self, split, source)):
            yield Sample(f"{split}-{index}", {"question": row["question"]}, (row["answer"],), {"index": index})

    def messages(self, sample: Sample) -> list[Message]:
        return [Message("user", sample.fields["question"])]

    def target(self, sample: Sample) -> str:
        return sample.targets[0]

    def accepted(self, sample: Sample) -> tuple[str, ...]:
        return tuple(map(gold_text, sample.targets))

    def explicit(self, output: str) -> bool:
        return numbers.after_marker(output) is not None

    def score(self, sample: Sample, output: str) -> Score:
        golds = self.accepted(sample)
        found = numbers.numeric(output)
        values = {
            "numeric": float(found is not None and found in map(numbers.first_number, golds)),
            "strict": float(numbers.strict(output) in golds),
            "flexible": float(numbers.flexible(output) in golds),
        }
        answer = None if found is None else numbers.plain(found)
        return judged(values["numeric"] == 1, answer, values, f"gold {', '.join(golds) or 'none'}")


def gold_text(target: str) -> str:
    """Return the gold number's text, commas removed: what follows the last ``####``, else our reading of the target.

    Raises DataError when there is no number.
    """
    _, marker, after = target.rpartition("####")
    text = after.strip().replace(",", "")
    number = numbers.first_number(text) if marker else numbers.numeric(target)
    if number is None:
        raise DataError(f"gold answer: got {target[-40:]!r}, expected a number, alone or after a marker like '####'")
    return text if marker else numbers.plain(number)
