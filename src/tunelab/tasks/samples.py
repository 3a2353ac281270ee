"""Rows of a task: reading them with the columns that it needs, checking its samples, and what a sample asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from tunelab.data.readers import require_columns
from tunelab.data.sample import Sample
from tunelab.data.sources import Source
from tunelab.errors import DataError
from tunelab.tasks.task import CLUSTERS, Task


def checked_rows(task: Task, split: str, source: Source | None) -> list[dict[str, Any]]:
    """Return a split's raw rows after checking that they have the columns the task needs."""
    if source is None or task.dataset is None:
        raise DataError(f"task {task.name}: needs a data source for the split {split!r}")
    rows = source.rows(split)
    require_columns(rows, task.dataset.columns, f"task {task.name}, split {split}")
    return rows


def checked_label(task: Task, split: str, index: int, label: Any, labels: Sequence[str]) -> str:
    """Return the word of a row's integer label. Raises DataError for one out of range: hidden labels are -1."""
    if not isinstance(label, int) or not 0 <= label < len(labels):
        raise DataError(
            f"task {task.name}, split {split}, row {index + 1}: got label {label!r}, expected 0 to {len(labels) - 1}"
        )
    return labels[label]


def load_samples(task: Task, split: str, source: Source | None) -> list[Sample]:
    """Load a split and check that it is not empty, that ids are unique and that no sample lacks a text.

    Raises DataError.
    """
    samples = list(task.load(split, source))
    if not samples:
        raise DataError(f"task {task.name}, split {split}: no rows, expected at least one")
    if len({s.id for s in samples}) != len(samples):
        raise DataError(f"task {task.name}, split {split}: sample ids repeat, expected unique ids: pairing needs them")
    for sample in samples:
        _check_texts(task, sample, f"task {task.name}, split {split}, sample {sample.id}")
    return samples


def _check_texts(task: Task, sample: Sample, where: str) -> None:
    """Refuse a sample whose target is missing or whose conversation has a turn without words: a null in the data."""
    if None in cast(Sequence[Any], sample.targets):
        raise DataError(f"{where}: got the target None, expected a text; mend or leave out the row")
    for message in task.messages(sample):
        content: Any = message.content
        if not isinstance(content, str) or not content.strip():
            columns = ", ".join(k for k, v in sample.fields.items() if v is None or not str(v).strip())
            raise DataError(
                f"{where}: got {content!r} as the {message.role}'s message (empty: {columns or 'no field'}), "
                "expected a text; mend or leave out the row"
            )


def question_text(task: Task, sample: Sample) -> str:
    """Return what a sample asks, without the words that a task puts around every question: what leaks are found by.

    That is the texts among its fields; a sample without any is known by what the user says.
    """
    texts = [value for value in sample.fields.values() if isinstance(value, str)]
    return "\n".join(texts or [m.content for m in task.messages(sample) if m.role == "user"])


def item_of(task: Task, sample: Sample) -> str | None:
    """Return what a sample is one of several wordings of, by which leaks are found; None where it says nothing.

    That is its cluster, beside the task's name: two tasks may number their rows alike.
    """
    cluster = sample.metadata.get("cluster")
    return None if cluster is None else f"{getattr(task, CLUSTERS, task.name)} {cluster}"
