"""Splits that a study makes itself: which they are, what they are known by, and their rows.

A part has the place of a split of that name, also where the data set has one. Parts called ``train`` and ``test`` are
trained on and scored by default, whatever the task's own splits are called.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tunelab.data.groups import QuestionOf
from tunelab.data.sample import Sample
from tunelab.data.splits import Splits, assign, describe
from tunelab.errors import DataError, StudyError, nearest
from tunelab.models.spec import ModelRef
from tunelab.study.spec import Data
from tunelab.tasks import find
from tunelab.tasks.samples import question_text
from tunelab.tasks.task import Task

TRAIN, TEST = "train", "test"


def made(data: Data, task: Task, split: str) -> Splits | None:
    """Return how the study makes a split of a task; None for a split of the data set."""
    found = data.splits.get(task.name)
    return found if found and split in found.shares else None


def learnt_from(data: Data, task: Task) -> str:
    """Return the split that a task is trained on; empty for one that is only evaluated."""
    return TRAIN if made(data, task, TRAIN) else task.train_split


def training_split(data: Data, name: str, folder: Path) -> str:
    """Return the same of a task by name. Raises StudyError for one that is only evaluated."""
    return learnt_from(data, find.find_task(name, folder)) or find.training_split(name, folder)


def test_split(data: Data, task: Task) -> str:
    """Return the split that a task is scored on unless an evaluation names another."""
    return TEST if made(data, task, TEST) else task.test_split


def refuse_unknown_tasks(data: Data, names: Iterable[str], folder: Path) -> None:
    """Raise StudyError for splits of a task that is neither among ``names`` nor installed."""
    known = {*find.installed(), *(find.find_task(name, folder).name for name in names)}
    for name in data.splits:
        if name not in known:
            raise StudyError(f"data.splits: got {name!r}, expected the name of a task{nearest(name, known)}")


def identity(splits: Splits, tokenizer: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what decides about the rows of a part, with what the tokenizer is known by, as plain JSON."""
    known = splits.model_dump(mode="json")
    return known if known["longest"] is None else known | {"longest": {**known["longest"], "tokenizer": tokenizer}}


def part_of(
    samples: Sequence[Sample], task: Task, part: str, how: Mapping[str, Any], tokenizer: ModelRef | None
) -> tuple[list[Sample], dict[str, Any]]:
    """Return one part of a split's samples, in their order, and the receipt. ``how`` is as ``identity`` writes it.

    Raises DataError when too few rows are left to part.
    """
    asked = partial(question_text, task)
    kept = _short_enough(samples, asked, how["longest"], tokenizer)
    try:
        parts = assign(kept, how["shares"], how, asked)
    except DataError as error:
        raise DataError(f"task {task.name}, split {how['from']}: {error}") from None
    receipt = {"from": how["from"], **describe(samples, parts, how, how["shares"], asked)}
    return [s for s in kept if parts[s.id] == part], receipt


def _short_enough(
    samples: Sequence[Sample], asked: QuestionOf, longest: Mapping[str, Any] | None, tokenizer: ModelRef | None
) -> list[Sample]:
    if longest is None or tokenizer is None:
        return list(samples)
    from tunelab.models.lengths import token_counts

    counts = token_counts(tokenizer, [asked(s) for s in samples])
    return [s for s, tokens in zip(samples, counts, strict=True) if tokens <= longest["tokens"]]
