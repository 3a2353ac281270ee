"""SQuAD 2.0: questions on a passage of Wikipedia, half of which the passage does not answer.

Scored as ``evaluate-v2.0.py`` does (see ``tunelab.scoring.squad``), values as fractions of 1. An abstention in words
counts as the empty answer that the official scorer wants; ``exact_verbatim`` and ``f1_verbatim`` score the output as
it stands, so rows where the two readings differ can be found. ``HasAns_*`` and ``NoAns_*`` are over the questions
that have an answer and those that have none. Questions on one passage are one cluster.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.errors import DataError
from tunelab.scoring import squad
from tunelab.scoring.score import Metric, Score, judged
from tunelab.tasks.samples import checked_rows

UNANSWERABLE = "unanswerable"
PROMPT = """\
Answer the question with words from the passage, as few as possible. \
If the passage does not answer it, write {unanswerable}.

Passage: {context}

Question: {question}"""


class SquadV2:
    """rajpurkar/squad_v2: 130319 training and 11873 validation questions; the test answers are hidden."""

    name = "squad_v2"
    version = 1
    scorer_version = 1
    dataset: Dataset | None = Dataset(
        repo="rajpurkar/squad_v2",
        config="squad_v2",
        revision="3ffb306f725f7d2ce8394bc1873b24868140c412",
        splits={"train": "train", "validation": "validation"},
        columns=("id", "title", "context", "question", "answers"),
        sizes={"train": 130319, "validation": 11873},
    )
    train_split = "train"
    test_split = "validation"
    metrics = (
        Metric("f1", binary=False),
        Metric("exact"),
        Metric("HasAns_f1", binary=False),
        Metric("HasAns_exact"),
        Metric("NoAns_f1"),
        Metric("NoAns_exact"),
        Metric("f1_verbatim", binary=False),
        Metric("exact_verbatim"),
        Metric("abstained", definition="the output declines to answer, in words or by saying nothing"),
    )
    stop: tuple[str, ...] = ()
    max_new_tokens = 48

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        for index, row in enumerate(checked_rows(self, split, source)):
            passage = hashlib.sha256(row["context"].encode()).hexdigest()[:16]
            fields = {"context": row["context"], "question": row["question"].strip()}
            metadata = {"index": index, "title": row["title"], "cluster": passage}
            yield Sample(row["id"], fields, _answers(row, f"task squad_v2, split {split}, row {index + 1}"), metadata)

    def messages(self, sample: Sample) -> list[Message]:
        return [Message("user", PROMPT.format(unanswerable=UNANSWERABLE, **sample.fields))]

    def target(self, sample: Sample) -> str:
        return sample.targets[0] or UNANSWERABLE

    def accepted(self, sample: Sample) -> tuple[str, ...]:
        return tuple(filter(None, sample.targets)) or (UNANSWERABLE,)

    def score(self, sample: Sample, output: str) -> Score:
        said = output.strip()
        abstained = squad.abstains(said)
        answer = "" if abstained else said
        exact, f1 = squad.exact(sample.targets, answer), squad.f1(sample.targets, answer)
        group = "HasAns" if any(sample.targets) else "NoAns"
        values = {
            "f1": f1,
            "exact": exact,
            f"{group}_f1": f1,
            f"{group}_exact": exact,
            "f1_verbatim": squad.f1(sample.targets, said),
            "exact_verbatim": squad.exact(sample.targets, said),
            "abstained": float(abstained),
        }
        return judged(f1 == 1, answer, values, "abstained" if abstained else "")


def _answers(row: dict[str, Any], where: str) -> tuple[str, ...]:
    """Accepted answers without repeats; the empty one where there are none. Raises DataError for another shape."""
    answers = row["answers"]
    if not isinstance(answers, dict) or not isinstance(answers.get("text"), list):
        raise DataError(f"{where}: got the answers {answers!r}, expected an object with a list 'text'")
    return tuple(dict.fromkeys(answers["text"])) or ("",)
