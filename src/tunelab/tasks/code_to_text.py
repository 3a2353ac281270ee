"""CodeXGLUE code-to-text (CodeSearchNet, Python): the docstring of a function.

The headline is CodeXGLUE's smoothed sentence BLEU-4, the mean over functions; sacrebleu's corpus BLEU stands beside
it (see ``tunelab.scoring.bleu``). Values are fractions of 1. Code and docstring are the token lists of the data set
joined by spaces, as CodeXGLUE's baseline reads them: its plain ``code`` still holds the docstring. The hub's revision
is not pinned, it is ``main``.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.scoring import bleu
from tunelab.scoring.score import Metric, Score, judged
from tunelab.tasks.samples import checked_rows

PROMPT = """\
Write the first sentence of the docstring of this Python function, given as tokens. Write the sentence only.

{code}"""
BLEU = Metric("bleu", binary=False, definition="mean of CodeXGLUE sentence BLEU-4: lower case, one added above order 1")
SACREBLEU = Metric("sacrebleu", binary=False, total=bleu.sacrebleu_corpus, definition=bleu.SIGNATURE)


class CodeToText:
    """google/code_x_glue_ct_code_to_text, python: 251820 training, 13914 validation and 14918 test functions."""

    name = "code_to_text"
    version = 1
    scorer_version = 1
    dataset: Dataset | None = Dataset(
        repo="google/code_x_glue_ct_code_to_text",
        config="python",
        revision="main",
        splits={"train": "train", "validation": "validation", "test": "test"},
        columns=("id", "code_tokens", "docstring_tokens"),
        sizes={"train": 251820, "validation": 13914, "test": 14918},
    )
    train_split = "train"
    test_split = "test"
    metrics = (BLEU, SACREBLEU)
    stop: tuple[str, ...] = ()
    max_new_tokens = 64

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        for index, row in enumerate(checked_rows(self, split, source)):
            metadata = {"id": row["id"], "index": index}
            fields = {"code": " ".join(row["code_tokens"])}
            yield Sample(f"{split}-{index}", fields, (" ".join(row["docstring_tokens"]),), metadata)

    def messages(self, sample: Sample) -> list[Message]:
        return [Message("user", PROMPT.format(code=sample.fields["code"]))]

    def target(self, sample: Sample) -> str:
        return sample.targets[0]

    def score(self, sample: Sample, output: str) -> Score:
        text, reference = output.strip(), next(iter(sample.targets), "")
        parts = bleu.sacrebleu_parts(text, reference)
        values = {
            "bleu": max((bleu.sentence(text, target) for target in sample.targets), default=0.0),
            "sacrebleu": bleu.sacrebleu_corpus(np.array(parts)),
        }
        return judged(values["bleu"] == 1, text or None, values, parts={"sacrebleu": parts})
