"""Finished cells with all that a log of another format asks for, read from the store."""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tunelab.data.sample import Sample
from tunelab.engine.record import Artifact
from tunelab.engine.step import Step
from tunelab.errors import StudyError
from tunelab.files import read_json
from tunelab.study.cells import Cell
from tunelab.study.import_plan import KIND as IMPORT
from tunelab.study.open import Opened
from tunelab.study.steps.answers import read_answers
from tunelab.study.steps.rows import read_samples
from tunelab.tasks.find import find_task
from tunelab.tasks.task import Task

Row = dict[str, Any]
NOT_IN_NAMES = re.compile(r"[^\w.@#=,+-]+", re.ASCII)


@dataclass(frozen=True)
class Finished:
    """A scored cell: its steps, its task and its rows."""

    study: str
    question: str
    cell: Cell
    task: Task
    score: Artifact
    outputs: Artifact
    rows: Artifact
    origin: str | None
    """The data set's id on the hub, or None where its rows are not from one."""

    @property
    def imported(self) -> bool:
        """Whether the outputs are from a file."""
        return self.outputs.record.kind == IMPORT

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decided about the outputs: format, decoding, backend; little of it is known where they are imported."""
        return self.outputs.record.settings

    @property
    def shots(self) -> int | None:
        """Worked examples in the prompt; None where it is not known."""
        return None if self.imported else self.cell.evaluation.format.few_shots.k

    @cached_property
    def summary(self) -> Row:
        """``summary.json``."""
        return read_json(self.score.path("summary.json"))

    @cached_property
    def samples(self) -> list[Sample]:
        """The rows, in their order."""
        return read_samples(self.rows)

    @cached_property
    def results(self) -> dict[str, list[Row]]:
        """The scored draws of each row, by its id; as ``results.json`` has them."""
        found: defaultdict[str, list[Row]] = defaultdict(list)
        for row in read_json(self.score.path("results.json")):
            found[row["id"]].append(row)
        return dict(found)

    @cached_property
    def prompt_tokens(self) -> dict[tuple[str, int], int | None]:
        """How long the prompt of each draw was, where that is known."""
        return {(row["id"], row["sample"]): row["prompt_tokens"] for row in read_answers(self.outputs)}

    def indices(self) -> dict[str, int]:
        """Number the rows: by their place in the data set where each has its own, else by their order."""
        given = {s.id: s.metadata.get("index") for s in self.samples}
        places = [place for place in given.values() if isinstance(place, int)]
        if len(set(places)) == len(given):
            return dict(zip(given, places, strict=True))
        return {sample.id: place for place, sample in enumerate(self.samples)}

    def value(self, item: str, metric: str) -> float | None:
        """The mean of a metric over an item's draws; None where it has no value."""
        values = [row["values"][metric] for row in self.results.get(item, []) if metric in row["values"]]
        return float(np.mean(values)) if values else None

    def is_corpus(self, metric: str) -> bool:
        """Whether a metric is no mean over items."""
        return any(m.name == metric and m.total is not None for m in self.task.metrics)

    def standard_error(self, metric: str) -> float | None:
        """Sample standard deviation of the items' values over the root of n; None for a corpus metric.

        Both formats mean this one, which takes items for independent: where they share clusters it is too small.
        """
        if self.is_corpus(metric):
            return None
        values = [v for s in self.samples if (v := self.value(s.id, metric)) is not None]
        return float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None

    def metrics(self) -> list[str]:
        """The metrics of the summary that single outputs have values of, too; the first is the headline."""
        return [metric.name for metric in self.task.metrics if metric.name in self.summary["metrics"]]


def finished(opened: Opened) -> list[Finished]:
    """Return a study's scored cells. Raises StudyError when there is none."""
    compiled = opened.compiled
    found = [_finished(opened, cell, compiled.scores[cell.name]) for cell in compiled.cells]
    scored = [cell for cell in found if cell is not None]
    if not scored:
        raise StudyError(f"{opened.name}: has no scored cell in {opened.store.root}, expected one; run the study first")
    return scored


def _finished(opened: Opened, cell: Cell, step: Step) -> Finished | None:
    score = opened.store.find(step)
    if score is None:
        return None
    outputs, rows = (opened.store.open(step.inputs[name]) for name in ("outputs", "rows"))
    task, study = find_task(cell.evaluation.task, opened.compiled.folder), opened.compiled.study
    source: Mapping[str, Any] = rows.record.facts["receipt"]["source"] or {}
    return Finished(study.study, study.question, cell, task, score, outputs, rows, source.get("hub"))


def by_variant(cells: Sequence[Finished]) -> dict[str, list[Finished]]:
    """Group cells by their variant, in the study's order."""
    found: defaultdict[str, list[Finished]] = defaultdict(list)
    for cell in cells:
        found[cell.cell.variant.name].append(cell)
    return dict(found)


def task_names(cells: Sequence[Finished]) -> list[str]:
    """Name each of a variant's cells by its task; with its evaluation where several are of one task."""
    tasks = [cell.task.name for cell in cells]
    names = [c.task.name if tasks.count(c.task.name) == 1 else f"{c.task.name}_{c.cell.evaluation.name}" for c in cells]
    return [NOT_IN_NAMES.sub("-", name) for name in names]


def folder_name(name: str) -> str:
    """Return a variant's name as a folder may be called."""
    return NOT_IN_NAMES.sub("__", name)


def digest(text: str) -> str:
    """Return the sha256 of a text as 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()
