"""CodeXGLUE text-to-code (CONCODE): a Java method from its description and the members of its class.

Scored as CodeXGLUE does (see ``tunelab.scoring.code_match``), values as fractions of 1, by white-space tokens: that is
why the prompt asks for a space between tokens. The test answers are hidden: validation is the evaluation. The hub's
revision is not pinned, it is ``main``.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.scoring.code_match import BLEU, EXACT_MATCH, SACREBLEU, code_score
from tunelab.scoring.score import Score
from tunelab.tasks.samples import checked_rows

PROMPT = """\
Write the Java method that the description asks for. After it come the fields and the methods of the class, set \
apart by concode_field_sep and concode_elem_sep. Call the method function, its parameters arg0, arg1, ... and its \
local variables loc0, loc1, ... Write one line of code with a space between all tokens, and nothing else.

{nl}"""


class CodeTextToCode:
    """google/code_x_glue_tc_text_to_code: 100000 training and 2000 validation methods."""

    name = "code_text_to_code"
    version = 1
    scorer_version = 1
    dataset: Dataset | None = Dataset(
        repo="google/code_x_glue_tc_text_to_code",
        config="default",
        revision="main",
        splits={"train": "train", "validation": "validation"},
        columns=("id", "nl", "code"),
        sizes={"train": 100000, "validation": 2000},
    )
    train_split = "train"
    test_split = "validation"
    metrics = (BLEU, EXACT_MATCH, SACREBLEU)
    stop: tuple[str, ...] = ()
    max_new_tokens = 192

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        for index, row in enumerate(checked_rows(self, split, source)):
            metadata = {"id": row["id"], "index": index}
            yield Sample(f"{split}-{index}", {"nl": row["nl"].strip()}, (row["code"].strip(),), metadata)

    def messages(self, sample: Sample) -> list[Message]:
        return [Message("user", PROMPT.format(nl=sample.fields["nl"]))]

    def target(self, sample: Sample) -> str:
        return sample.targets[0]

    def score(self, sample: Sample, output: str) -> Score:
        return code_score(sample.targets, output)
