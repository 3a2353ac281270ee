"""HumanEval (Chen et al. 2021): complete a Python function from its signature and docstring.

A program is the prompt, the completion, a line break and the test, as its authors run it, but test and candidate are
apart: see ``tunelab.scoring.code``. Other functions that the prompt defines belong to the test's side too, in a copy
that the candidate cannot touch.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.scoring.code.answers import code_of, completed
from tunelab.scoring.code.pool import Program
from tunelab.scoring.code.reference import parsed, without
from tunelab.scoring.code.sandbox import Choice
from tunelab.scoring.code.scored import PASS_AT_1, program_score
from tunelab.scoring.score import Score
from tunelab.tasks.samples import checked_rows


class HumanEval:
    """openai/openai_humaneval: 164 problems, evaluated only."""

    name = "humaneval"
    version = 1
    scorer_version = 1
    dataset: Dataset | None = Dataset(
        repo="openai/openai_humaneval",
        config="openai_humaneval",
        revision="main",
        splits={"test": "test"},
        columns=("task_id", "prompt", "canonical_solution", "test", "entry_point"),
        sizes={"test": 164},
    )
    train_split = ""
    test_split = "test"
    metrics = (PASS_AT_1,)
    stop: tuple[str, ...] = ()
    max_new_tokens = 512
    sandbox: Choice = "bubblewrap"

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        for index, row in enumerate(checked_rows(self, split, source)):
            where = f"task {self.name}, split {split}, row {index + 1}"
            solution = parsed(row["prompt"] + row["canonical_solution"], where)
            known = {"id": row["task_id"], "index": index, "entry_point": row["entry_point"], "test": row["test"]}
            known["setup"] = without(solution, row["entry_point"])
            yield Sample(f"{split}-{index}", {"prompt": row["prompt"]}, (row["canonical_solution"],), known)

    def messages(self, sample: Sample) -> list[Message]:
        return [Message("user", sample.fields["prompt"])]

    def target(self, sample: Sample) -> str:
        return sample.targets[0]

    def score(self, sample: Sample, output: str) -> Score:
        prompt, known = sample.fields.get("prompt", ""), sample.metadata
        entry_point = known.get("entry_point", "")
        tests = [f"{known['test']}\ncheck({entry_point})"] if "test" in known else []
        program = Program(completed(prompt, entry_point, output), [entry_point], tests, known.get("setup", ""))
        return program_score(program, code_of(output, [entry_point]), self.sandbox)
