"""MGSM: the first 250 test problems of GSM8K, translated by people (Shi et al. 2023), in German, English and French.

``test_de`` is one language; ``test`` is all three. A sample's id comes from what its row says. Its cluster is its
place in the official file: tunelab relies on a problem having the same place in every language. Scored as ``numeric``
of GSM8K is, with the answer words and the number format of the problem's language. Training has eight worked problems
a language.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.errors import DataError
from tunelab.scoring import local_numbers, numbers
from tunelab.scoring.score import Metric, Score, judged
from tunelab.tasks.languages import ASK_NUMBER, by_language, rows_by_language, shared
from tunelab.tasks.row_keys import RowKeys

LANGUAGES = ("de", "en", "fr")
UNSAID = "en"
"""How an output is read that comes without its problem."""


class Mgsm:
    """juletxara/mgsm: 8 training and 250 test problems in each language."""

    name = "mgsm"
    version = 2
    scorer_version = 1
    dataset: Dataset | None = Dataset(
        repo="juletxara/mgsm",
        config="en",
        revision="main",
        splits={part: split for split in ("train", "test") for part in by_language(split, *LANGUAGES)},
        columns=("question", "answer", "answer_number"),
        configs={part: part[-2:] for split in ("train", "test") for part in by_language(split, *LANGUAGES)},
        joins={split: by_language(split, *LANGUAGES) for split in ("train", "test")},
    )
    train_split = "train"
    test_split = "test"
    metrics = (Metric("numeric"),)
    groups = ("language",)
    stop: tuple[str, ...] = ()
    answer_type = "number"
    max_new_tokens = 512

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        keys = RowKeys()
        for part, language, number, row in rows_by_language(self, split, source):
            item = f"{part}-{number}"
            target = row["answer"] or str(row["answer_number"])
            fields = {"question": row["question"]}
            key = keys.key(language, row["question"], row["answer"], row["answer_number"])
            yield Sample(f"{part}-{key}-{language}", fields, (target,), shared(item, language, index=number))

    def messages(self, sample: Sample) -> list[Message]:
        return [Message("user", f"{sample.fields['question']}\n\n{ASK_NUMBER[sample.metadata['language']]}")]

    def target(self, sample: Sample) -> str:
        return sample.targets[0]

    def accepted(self, sample: Sample) -> tuple[str, ...]:
        language = sample.metadata.get("language", UNSAID)
        return tuple(numbers.plain(_gold(target, language)) for target in sample.targets)

    def explicit(self, output: str) -> bool:
        return any(local_numbers.after_marker(output, language) is not None for language in LANGUAGES)

    def score(self, sample: Sample, output: str) -> Score:
        language = sample.metadata.get("language", UNSAID)
        golds = [_gold(target, language) for target in sample.targets]
        found = local_numbers.numeric(output, language)
        answer = None if found is None else numbers.plain(found)
        shown = ", ".join(map(numbers.plain, golds)) or "none"
        return judged(found in golds, answer, {"numeric": float(found in golds)}, f"gold {shown}")


def _gold(target: str, language: str) -> Decimal:
    number = local_numbers.numeric(target, language)
    if number is None:
        raise DataError(f"gold answer: got {target[-40:]!r}, expected a number")
    return number
