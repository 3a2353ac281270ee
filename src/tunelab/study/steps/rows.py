"""Samples between steps: how prepared rows are written and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tunelab.data.leaks import Asked
from tunelab.data.sample import Sample
from tunelab.engine.context import StepContext
from tunelab.engine.record import Artifact
from tunelab.files import read_lines, write_lines
from tunelab.formats.conversation import Shot
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import item_of, question_text
from tunelab.tasks.task import Task

ROWS = "rows.jsonl"


def write_samples(directory: Path, samples: Sequence[Sample]) -> None:
    """Write samples as ``rows.jsonl``."""
    write_lines(directory / ROWS, [sample.to_json() for sample in samples])


def read_samples(artifact: Artifact) -> list[Sample]:
    """Read a prepare step's samples."""
    return [Sample.from_json(row) for row in read_lines(artifact.path(ROWS))]


def questions(task: Task, samples: Sequence[Sample]) -> list[Asked]:
    """Return what every sample asks: what leaks are looked for in."""
    return [Asked(s.id, question_text(task, s), item_of(task, s)) for s in samples]


def questions_of(context: StepContext, prefix: str) -> list[Asked]:
    """Return those of the inputs whose name begins with ``prefix``, each by the task that its rows belong to."""
    found: list[Asked] = []
    for name, artifact in context.inputs.items():
        if name.startswith(prefix):
            task = find_task(context.circumstance["tasks"][name], Path(context.circumstance["folder"]))
            found += questions(task, read_samples(artifact))
    return found


def read_shots(task: Task, inputs: Mapping[str, Artifact], k: int) -> list[Shot]:
    """Read the first ``k`` worked examples among a step's inputs; none when the format has none."""
    if "shots" not in inputs:
        return []
    return [(task.messages(s), task.target(s)) for s in read_samples(inputs["shots"])[:k]]
