"""CodeXGLUE code refinement (small): a Java method with a bug into the method without it.

Scored as CodeXGLUE does (see ``tunelab.scoring.code_match``), values as fractions of 1. The headline is exact match:
the two methods differ in a few tokens, so the BLEU of the unchanged bug is near 0.8 already and says little. Names
are abstracted and tokens are spaced in the data. The hub's revision is not pinned, it is ``main``.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.scoring.code_match import BLEU, EXACT_MATCH, SACREBLEU, code_score
from tunelab.scoring.score import Score
from tunelab.tasks.samples import checked_rows

PROMPT = """\
This Java method has a bug. Write the method without it: one line of code with a space between all tokens, and \
nothing else.

{buggy}"""


class CodeRefinement:
    """google/code_x_glue_cc_code_refinement, small: 46680 training, 5835 validation and 5835 test methods."""

    name = "code_refinement"
    version = 1
    scorer_version = 1
    dataset: Dataset | None = Dataset(
        repo="google/code_x_glue_cc_code_refinement",
        config="small",
        revision="main",
        splits={"train": "train", "validation": "validation", "test": "test"},
        columns=("id", "buggy", "fixed"),
        sizes={"train": 46680, "validation": 5835, "test": 5835},
    )
    train_split = "train"
    test_split = "test"
    metrics = (EXACT_MATCH, BLEU, SACREBLEU)
    stop: tuple[str, ...] = ()
    max_new_tokens = 160

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        for index, row in enumerate(checked_rows(self, split, source)):
            metadata = {"id": row["id"], "index": index}
            yield Sample(f"{split}-{index}", {"buggy": row["buggy"].strip()}, (row["fixed"].strip(),), metadata)

    def messages(self, sample: Sample) -> list[Message]:
        return [Message("user", PROMPT.format(buggy=sample.fields["buggy"]))]

    def target(self, sample: Sample) -> str:
        return sample.targets[0]

    def score(self, sample: Sample, output: str) -> Score:
        return code_score(sample.targets, output)
