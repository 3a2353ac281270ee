"""CodeXGLUE code translation: a Java method into C#.

Scored as CodeXGLUE does (see ``tunelab.scoring.code_match``), values as fractions of 1, by white-space tokens of the
methods as the data set writes them: on one line. The hub's revision is not pinned, it is ``main``.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.scoring.code_match import BLEU, EXACT_MATCH, SACREBLEU, code_score
from tunelab.scoring.score import Score
from tunelab.tasks.samples import checked_rows

PROMPT = """\
Translate this Java method into C#. Write one line of code, and nothing else.

{java}"""


class CodeToCodeTrans:
    """google/code_x_glue_cc_code_to_code_trans: 10300 training, 500 validation and 1000 test methods."""

    name = "code_to_code_trans"
    version = 1
    scorer_version = 1
    dataset: Dataset | None = Dataset(
        repo="google/code_x_glue_cc_code_to_code_trans",
        config="default",
        revision="main",
        splits={"train": "train", "validation": "validation", "test": "test"},
        columns=("id", "java", "cs"),
        sizes={"train": 10295, "validation": 499, "test": 1000},
    )
    train_split = "train"
    test_split = "test"
    metrics = (BLEU, EXACT_MATCH, SACREBLEU)
    stop: tuple[str, ...] = ()
    max_new_tokens = 320

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        for index, row in enumerate(checked_rows(self, split, source)):
            metadata = {"id": row["id"], "index": index}
            yield Sample(f"{split}-{index}", {"java": row["java"].strip()}, (row["cs"].strip(),), metadata)

    def messages(self, sample: Sample) -> list[Message]:
        return [Message("user", PROMPT.format(java=sample.fields["java"]))]

    def target(self, sample: Sample) -> str:
        return sample.targets[0]

    def score(self, sample: Sample, output: str) -> Score:
        return code_score(sample.targets, output)
