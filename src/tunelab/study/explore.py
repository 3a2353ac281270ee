"""What a task's rows are like: columns, repeats, distributions and lengths, in one pass over each split.

A split that joins others is read part by part, so that one part is in memory at a time. Of its rows only counts,
lengths and hashes are kept. Everything that comes out is plain JSON; ``tunelab.report.statistics`` shows it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tunelab.canonical import canonical
from tunelab.data.readers import Row
from tunelab.data.sample import Sample
from tunelab.data.sources import Source
from tunelab.data.statistics import Columns, hash_row, repeats
from tunelab.errors import DataError
from tunelab.models.load import load_tokenizer, quiet
from tunelab.models.spec import resolve_tokenizer
from tunelab.models.token_counts import TokenCounter
from tunelab.study.preview import Subject
from tunelab.study.sample_counts import SampleCounts
from tunelab.study.source import choose_source
from tunelab.tasks.find import find_task
from tunelab.tasks.task import Task

BATCH = 512
"""Texts that a tokenizer gets at once."""
LIMITS = (256, 512, 1024)


@dataclass(frozen=True)
class Question:
    """What is asked about a task's rows; without splits, about those of training and test that are there."""

    splits: Sequence[str] = ()
    tokenizers: Sequence[str] = ("tiny",)
    limits: Sequence[int] = LIMITS
    by: Sequence[str] = ()
    """Names of metadata, or ``split``, by which lengths are also shown."""


@dataclass
class Watched:
    """A source that counts the rows that a task takes from it, before the task makes anything of them."""

    source: Source
    columns: Columns = field(default_factory=Columns)
    hashes: dict[str, array[int]] = field(default_factory=dict[str, "array[int]"])
    """Of every row, by split."""
    places: dict[str, str] = field(default_factory=dict[str, str])
    """The identity of each split that was read: two parts of a task may come from the same rows."""

    def identity(self, split: str) -> dict[str, Any]:
        return self.source.identity(split)

    def rows(self, split: str) -> list[Row]:
        rows = self.source.rows(split)
        if split not in self.hashes:
            place = canonical(self.source.identity(split))
            self.hashes[split] = array("Q", map(hash_row, rows))
            if place not in self.places.values():
                for row in rows:
                    self.columns.add(row)
            self.places[split] = place
        return rows

    def all_hashes(self) -> list[int]:
        """Return the hashes of all rows; of splits with the same rows, once."""
        first: dict[str, str] = {}
        for split, place in self.places.items():
            first.setdefault(place, split)
        return [found for split in first.values() for found in self.hashes[split]]


def explore(subject: Subject, question: Question) -> dict[str, Any]:
    """Return the statistics of a subject's rows as plain JSON; seconds for each 14,000 rows and tokenizer.

    A row that the task refuses ends its split there: what was refused stands under ``refused``. Raises DataError for
    rows that are not there, and ModelError for a tokenizer that cannot be loaded.
    """
    task = find_task(subject.task, subject.folder)
    source = choose_source(task, subject.data, subject.folder)
    if source is None and subject.data.files:
        raise DataError(f"task {task.name}: makes its own rows, got files for {', '.join(subject.data.files)}")
    watched = Watched(source) if source else None
    splits, absent = _splits(task, watched, question.splits or list(subject.data.files_of(task.name)))
    quiet()
    found = [resolve_tokenizer(name, subject.folder) for name in question.tokenizers]
    counts = SampleCounts(task, {ref.name: TokenCounter(load_tokenizer(ref)) for ref in found}, question.by)
    refused = _read(task, splits, watched, counts)
    return {
        "task": task.name,
        "splits": [_split_line(split, watched, counts) for split in splits],
        "absent": absent,
        "refused": refused,
        "rows": _row_repeats(watched),
        "columns": (watched.columns if watched else counts.fields).table(),
        "limits": list(question.limits),
        "tokenizers": [{"name": ref.name, "identity": ref.identity} for ref in found],
        **counts.results(question.limits),
    }


def _splits(task: Task, source: Source | None, asked: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the splits to read, one that joins others as its parts, and why those of the task are not there."""
    if asked or source is None:
        return _parts(task, asked or [name for name in (task.train_split, task.test_split) if name]), {}
    there: list[str] = []
    absent: dict[str, str] = {}
    for split in filter(None, (task.train_split, task.test_split)):
        try:
            _ = [source.identity(part) for part in _parts(task, [split])]
            there.append(split)
        except DataError as error:
            absent[split] = str(error)
    if not there:
        raise DataError(next(iter(absent.values())))
    return _parts(task, there), absent


def _parts(task: Task, splits: Iterable[str]) -> list[str]:
    """Return each part once, whatever several splits have in common."""
    found = [part for split in splits for part in (task.dataset.parts(split) if task.dataset else (split,))]
    return list(dict.fromkeys(found))


def _read(task: Task, splits: Sequence[str], source: Watched | None, counts: SampleCounts) -> dict[str, str]:
    """Count the samples of all splits; return, by split, why the task refused a row.

    Raises DataError for rows that are not there, and when no row is left.
    """
    refused: dict[str, str] = {}
    for split in splits:
        samples = _accepted(task, split, source, refused)
        while batch := list(islice(samples, BATCH)):
            counts.add(split, batch)
    if not counts.rows:
        raise DataError(next(iter(refused.values()), f"task {task.name}: no rows, expected at least one"))
    return refused


def _accepted(task: Task, split: str, source: Watched | None, refused: dict[str, str]) -> Iterator[Sample]:
    """Yield a split's samples up to the first row that the task refuses."""
    try:
        yield from task.load(split, source)
    except DataError as error:
        if source is None or split not in source.hashes:
            raise
        refused[split] = str(error)


def _split_line(split: str, source: Watched | None, counts: SampleCounts) -> dict[str, Any]:
    """Say how many rows a split's source has, how many samples the task made of them, and what the source is."""
    if source is None:
        return {"split": split, "rows": None, "samples": counts.of_split(split), "source": None}
    identity = source.identity(split)
    return {"split": split, "rows": len(source.hashes[split]), "samples": counts.of_split(split), "source": identity}


def _row_repeats(source: Watched | None) -> dict[str, int] | None:
    """Count the rows of the source, and those that repeat an earlier one in all columns."""
    if source is None:
        return None
    hashes = source.all_hashes()
    return {"rows": len(hashes), "repeated": repeats(hashes)}
