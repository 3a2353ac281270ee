"""MBPP (Austin et al. 2021): short Python programs from a sentence and three asserts, all of which are shown.

``test_setup_code`` runs before the candidate is there, as the data set's authors have it, so two problems whose setup
uses a class of the solution (367 and 927) can be solved by nobody. What a test calls is what the reference solution
defines; the modules that a test uses are those of the test's side.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.errors import DataError
from tunelab.scoring.code.answers import code_of
from tunelab.scoring.code.pool import Program
from tunelab.scoring.code.reference import imports_of, names_defined, names_used, parsed
from tunelab.scoring.code.sandbox import Choice
from tunelab.scoring.code.scored import PASS_AT_1, program_score
from tunelab.scoring.score import Score
from tunelab.tasks.samples import checked_rows

PROMPT = """\
Solve this task in Python. Answer with the code only.
{text}
The code must pass these tests:
{tests}"""
SANITIZED = {f"sanitized_{split}": split for split in ("train", "validation", "test", "prompt")}


class Mbpp:
    """google-research-datasets/mbpp: 374 training, 90 validation and 500 test problems; 427 of them hand-checked."""

    name = "mbpp"
    version = 1
    scorer_version = 1
    dataset: Dataset | None = Dataset(
        repo="google-research-datasets/mbpp",
        config="full",
        revision="main",
        splits={name: name for name in ("train", "validation", "test", "prompt")} | SANITIZED,
        columns=("task_id", "code", "test_list"),
        sizes={"train": 374, "validation": 90, "test": 500, "prompt": 10},
        configs=dict.fromkeys(SANITIZED, "sanitized"),
        joins={"sanitized": (*SANITIZED,)},
    )
    train_split = "train"
    test_split = "test"
    metrics = (PASS_AT_1,)
    stop: tuple[str, ...] = ()
    max_new_tokens = 512
    sandbox: Choice = "bubblewrap"

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        for part in self.dataset.parts(split) if self.dataset else (split,):
            for index, row in enumerate(checked_rows(self, part, source)):
                where = f"task {self.name}, split {part}, row {index + 1}"
                fields = {"text": _text(row, where), "tests": "\n".join(row["test_list"])}
                code = row["code"].replace("\r\n", "\n")
                known = {"id": row["task_id"], "index": index, "tests": row["test_list"], **_apart(row, where)}
                yield Sample(f"{part}-{index}", fields, (code,), known)

    def messages(self, sample: Sample) -> list[Message]:
        return [Message("user", PROMPT.format(**sample.fields))]

    def target(self, sample: Sample) -> str:
        return sample.targets[0]

    def score(self, sample: Sample, output: str) -> Score:
        names, setup = sample.metadata.get("names", ()), sample.metadata.get("setup", "")
        code = code_of(output, names)
        program = Program(
            f"{setup}\n{code}\n",
            names,
            sample.metadata.get("tests", ()),
            f"{sample.metadata.get('imports', '')}\n{setup}",
        )
        return program_score(program, code, self.sandbox)


def _text(row: dict[str, Any], where: str) -> str:
    """Return what is asked: the sanitized rows call it otherwise."""
    for column in ("text", "prompt"):
        if row.get(column):
            return row[column]
    raise DataError(f"{where}: has neither a text nor a prompt, expected one of them")


def _apart(row: dict[str, Any], where: str) -> dict[str, Any]:
    """Return which names of the tests are the candidate's, and what the tests need besides."""
    solution = parsed(row["code"], where)
    used = names_used(parsed("\n".join(row["test_list"]), where))
    setup = "\n".join([*row.get("test_imports", ()), row.get("test_setup_code", "")]).replace("\r\n", "\n").strip()
    return {"names": sorted(used & names_defined(solution)), "imports": imports_of(solution, used), "setup": setup}
