"""Mixed rows as plain files for other programs: a step that ``tunelab data prepare`` alone asks for.

It is read off a variant's train step, like the tokenised sets: the rows that are mixed there, and the rows that the
variant is scored on, all in one shape. ``mixed/`` has what is trained on and a mixture of the scored rows by the same
rule, of which none is repeated; ``test/`` has the scored rows task by task. The leak checks of the training come first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tunelab.engine.step import Step
from tunelab.study.compile import Compiled
from tunelab.study.search_plan import first_training
from tunelab.study.tokenise_plan import tokenise_step
from tunelab.study.tree import nodes
from tunelab.tasks.mixed import JOINT

VERSION = 1
MIXED, TEST = "mixed", "test"
TRAIN_ROWS, TEST_ROWS, INFO = f"{MIXED}/train_mixed.jsonl", f"{MIXED}/test_mixed.jsonl", f"{MIXED}/info.json"
INDEX = f"{TEST}/test_index.json"
TRAIN, TOKENS, SCORED, CHECK = "train", "tokens", "scored/", "check/"
"""The step's inputs: the mixed rows, their lengths, and by task what is scored; the leak checks by number."""


def unified_step(compiled: Compiled, variant: str) -> Step | None:
    """Return the step that writes a variant's mixed rows as files; None where its rows are of one task, or unknown."""
    train = first_training(compiled.train[variant])
    rows = train.inputs.get("rows")
    if rows is None or rows.kind != "mix":
        return None
    tasks = rows.circumstance["task"].split(JOINT)
    scored: dict[str, Step] = {}
    for cell in compiled.cells:
        if cell.variant.name == variant and cell.evaluation.task in tasks:
            scored.setdefault(cell.evaluation.task, compiled.scores[cell.name].inputs["rows"])
    return Step(
        kind="unify",
        version=VERSION,
        slug=rows.slug,
        entry="tunelab.study.steps.unify:run",
        settings={"rule": dict(rows.settings), "domains": _domains(compiled, tasks)},
        inputs={
            TRAIN: rows,
            **{f"{SCORED}{task}": step for task, step in scored.items()},
            **{f"{CHECK}{number}": step for number, step in enumerate(train.after)},
            TOKENS: tokenise_step(train),
        },
        circumstance={"task": rows.circumstance["task"], "folder": str(compiled.folder)},
        optional=frozenset({TOKENS}),
    )


def _domains(compiled: Compiled, tasks: list[str]) -> dict[str, str]:
    """Return each task's top group in the study's tree; a task in none stands for itself."""
    groups = {task: path[0] for path, below in nodes(compiled.study.tasks) if len(path) == 1 for task in below}
    return {task: groups.get(task, task) for task in tasks}


def files_of(tasks: Iterable[str]) -> dict[str, str]:
    """Return the file of each task's scored rows: a user's task by the name of its class, a second one by a number."""
    names: dict[str, str] = {}
    for task in tasks:
        plain = Path(task).name.rpartition(":")[2]
        taken = sum(known == plain for known in (Path(t).name.rpartition(":")[2] for t in names))
        names[task] = f"{TEST}/{plain}{f'-{taken + 1}' if taken else ''}_test.jsonl"
    return names


def contents(settings: Mapping[str, Any]) -> list[str]:
    """Return the files that the step writes."""
    return [TRAIN_ROWS, TEST_ROWS, INFO, INDEX, *files_of(settings["domains"]).values()]
