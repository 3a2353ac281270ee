"""Copies of worked examples in the results folder: for the user to edit and to give back as ``few_shots.file``.

A copy follows the study for as long as nobody has edited it, which the checksum of what was last written tells. From
then on it is the user's and is never written over.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tunelab.engine.runner import Outcome, artifact_of
from tunelab.engine.step import Step
from tunelab.files import read_json, sha256_file, write_atomic, write_json
from tunelab.study.cells import file_name
from tunelab.study.open import Opened
from tunelab.study.steps.prepare import EXAMPLES
from tunelab.tasks.find import find_task

WRITTEN = ".written.json"
"""Checksums of the copies as they were written, by name."""


def copy_examples(opened: Opened, outcome: Outcome, folder: Path) -> None:
    """Write the worked examples of every format that is used, and say on stderr which edited copies were kept."""
    for name, step in _used(opened):
        if artifact := artifact_of(opened.store, outcome, step):
            _copy(artifact.path(EXAMPLES), folder / f"{file_name(name)}.jsonl")


def _used(opened: Opened) -> Iterator[tuple[str, Step]]:
    """Yield ``<task>-<format>`` with the step that prepared its worked examples."""
    found: dict[str, Step] = {}
    for cell in opened.compiled.cells:
        asked, outputs = cell.evaluation, opened.compiled.scores[cell.name].inputs["outputs"]
        if "shots" in outputs.inputs:
            task = find_task(asked.task, opened.compiled.folder).name
            found[f"{task}-{asked.settings.format}"] = outputs.inputs["shots"]
    yield from found.items()


def _copy(source: Path, target: Path) -> None:
    book = target.parent / WRITTEN
    written: dict[str, str] = read_json(book) if book.exists() else {}
    if target.exists() and sha256_file(target) != written.get(target.name):
        if target.read_bytes() != source.read_bytes():
            print(f"tunelab: kept {target}, which was edited; few_shots.file={target} uses it", file=sys.stderr)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, source.read_text(encoding="utf-8"))
    write_json(book, written | {target.name: sha256_file(target)})
