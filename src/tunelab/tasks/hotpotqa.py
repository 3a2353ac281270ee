"""HotpotQA with distractors: a question that takes two of ten paragraphs to answer.

Scored as ``hotpot_evaluate_v1.py`` scores answers (see ``tunelab.scoring.squad``), values as fractions of 1;
supporting facts are not asked for. The test split of this setting is not public, so validation is the evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.errors import DataError
from tunelab.scoring import squad
from tunelab.scoring.score import Metric, Score, judged
from tunelab.tasks.samples import checked_rows

PROMPT = """\
Answer the question from the paragraphs below, with as few words as possible: \
a name, a date, a phrase, or yes or no. Write the answer only.

{paragraphs}

Question: {question}"""


class HotpotQa:
    """hotpotqa/hotpot_qa, distractor: 90447 training and 7405 validation questions."""

    name = "hotpotqa"
    version = 1
    scorer_version = 1
    dataset: Dataset | None = Dataset(
        repo="hotpotqa/hotpot_qa",
        config="distractor",
        revision="1908d6afbbead072334abe2965f91bd2709910ab",
        splits={"train": "train", "validation": "validation"},
        columns=("id", "question", "answer", "type", "level", "context"),
        sizes={"train": 90447, "validation": 7405},
    )
    train_split = "train"
    test_split = "validation"
    metrics = (Metric("f1", binary=False), Metric("exact"))
    stop: tuple[str, ...] = ()
    max_new_tokens = 48

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        for index, row in enumerate(checked_rows(self, split, source)):
            paragraphs = _paragraphs(row, f"task hotpotqa, split {split}, row {index + 1}")
            fields = {"paragraphs": paragraphs, "question": row["question"].strip()}
            metadata = {"index": index, "type": row["type"], "level": row["level"]}
            yield Sample(row["id"], fields, (row["answer"],), metadata)

    def messages(self, sample: Sample) -> list[Message]:
        paragraphs = "\n\n".join(f"{p['title']}: {p['text']}" for p in sample.fields["paragraphs"])
        return [Message("user", PROMPT.format(paragraphs=paragraphs, question=sample.fields["question"]))]

    def target(self, sample: Sample) -> str:
        return sample.targets[0]

    def score(self, sample: Sample, output: str) -> Score:
        answer = output.strip()
        f1 = max((squad.hotpot_f1(gold, answer) for gold in sample.targets), default=0.0)
        exact = max((squad.hotpot_exact(gold, answer) for gold in sample.targets), default=0.0)
        return judged(f1 == 1, answer or None, {"f1": f1, "exact": exact})


def _paragraphs(row: dict[str, Any], where: str) -> list[dict[str, str]]:
    """Title and text of each paragraph. Raises DataError for another shape."""
    context = row["context"]
    if not isinstance(context, dict) or not {"title", "sentences"} <= set(context):
        raise DataError(f"{where}: got the context {str(context)[:80]!r}, expected an object with title and sentences")
    pairs = zip(context["title"], context["sentences"], strict=True)
    return [{"title": title, "text": "".join(sentences).strip()} for title, sentences in pairs]
