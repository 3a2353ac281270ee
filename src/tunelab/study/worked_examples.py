"""Worked examples: drawn by seed from the training split, or read from a file of the user's.

Both are written down in columns that can be edited and given back as ``few_shots.file``: the data set's own, or those
of a sample with its task's name, where a task makes its rows itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunelab.data.readers import Row, read_rows, require_columns
from tunelab.data.sample import Sample
from tunelab.data.sources import RowsSource, Source
from tunelab.data.subsets import few_shots
from tunelab.errors import DataError
from tunelab.formats.format import FewShots
from tunelab.tasks.samples import load_samples
from tunelab.tasks.task import Task

OF_A_SAMPLE = ("task", "fields", "targets")


def examples_file(shots: FewShots, folder: Path) -> Path | None:
    """Return the file that a format's worked examples come from; None where they are drawn."""
    return None if shots.file is None else folder / Path(shots.file).expanduser()


def fits(path: Path, task: Task) -> bool:
    """Say whether a file's rows have the columns of a task. Raises DataError when it cannot be read."""
    rows = read_rows(path)
    if _are_samples(rows):
        return all(row["task"] == task.name for row in rows)
    return all(set(_columns(task)) <= set(row) for row in rows)


def require_examples(path: Path, task: Task, k: int) -> None:
    """Raise DataError for a file that is not there, is of another task, or has fewer than ``k`` rows."""
    rows, where = read_rows(path), f"few_shots.file {path}"
    if len(rows) < k:
        raise DataError(f"{where}: got {len(rows)} rows, expected at least k = {k}")
    if not _are_samples(rows):
        require_columns(rows, _columns(task), where)
    elif others := sorted({row["task"] for row in rows} - {task.name}):
        raise DataError(f"{where}: got examples of {', '.join(others)}, expected those of {task.name}")


def _are_samples(rows: Sequence[Row]) -> bool:
    return all(set(OF_A_SAMPLE) <= set(row) for row in rows)


def _columns(task: Task) -> Sequence[str]:
    return OF_A_SAMPLE if task.dataset is None else task.dataset.columns


def read_examples(path: Path, task: Task, split: str) -> tuple[list[Sample], list[Row]]:
    """Return a file's worked examples with its rows. Raises DataError."""
    rows = read_rows(path)
    if _are_samples(rows):
        found = [Sample("", row["fields"], tuple(row["targets"]), row.get("metadata", {})) for row in rows]
    else:
        found = load_samples(task, split, RowsSource(rows))
    return [Sample(f"file-{i}", s.fields, s.targets, s.metadata) for i, s in enumerate(found)], rows


def drawn_examples(
    samples: Sequence[Sample], shots: FewShots, task: Task, split: str, source: Source | None
) -> tuple[list[Sample], list[Row]]:
    """Return the examples that a seed chooses among a split's samples, with the rows that they came from."""
    chosen = few_shots(samples, shots.chosen, shots.seed)
    rows = [] if source is None or joins(task, split) else source.rows(split)
    places = {s.id: i for i, s in enumerate(samples)}
    found = [_row_of(s, task, split, rows[places[s.id] : places[s.id] + 1]) for s in chosen]
    if None in found:  # a task that leaves out rows, or makes several of one
        found = [_row_of(s, task, split, rows) for s in chosen]
    whole = [row for row in found if row is not None]
    return chosen, whole if len(whole) == len(chosen) else [{"task": task.name, **s.to_json()} for s in chosen]


def joins(task: Task, split: str) -> bool:
    """Say whether a split is several others: one row of it alone does not tell which part it is of."""
    return task.dataset is not None and task.dataset.parts(split) != (split,)


def _row_of(sample: Sample, task: Task, split: str, rows: Sequence[Row]) -> Row | None:
    """Return the row that alone makes this sample."""
    return next((row for row in rows if _makes(row, sample, task, split)), None)


def _makes(row: Row, sample: Sample, task: Task, split: str) -> bool:
    made = [(s.fields, s.targets) for s in task.load(split, RowsSource([row]))]
    return made == [(sample.fields, sample.targets)]
