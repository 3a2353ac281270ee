"""Importing as a step: a file of outputs takes the place of a model that answers.

The file is identified by its content. How the outputs came about is not ours to know: no prompt of ours was rendered,
so no format contract was checked.
"""

from __future__ import annotations

from pathlib import Path

from tunelab.engine.step import Step
from tunelab.files import known_sha256
from tunelab.study.cells import Cell, plain_name
from tunelab.study.closing_plan import slug

KIND = "import"
VERSION = 1


def import_step(cell: Cell, rows: Step, folder: Path) -> Step:
    """The step that reads a cell's outputs from its file."""
    assert cell.variant.imported is not None
    named = plain_name(cell.evaluation.name)
    declared = cell.variant.imported[named]
    path = folder / Path(declared.file).expanduser()
    there = path.is_file()
    return Step(
        kind=KIND,
        version=VERSION,
        slug=slug(f"{cell.variant.name}-{cell.evaluation.name}"),
        entry="tunelab.study.steps.import_outputs:run",
        settings={
            "file": {"sha256": known_sha256(path) if there else None},
            "partial": declared.partial,
            "by": cell.by,
        },
        inputs={"rows": rows},
        circumstance={"file": str(path.resolve()), "task": cell.evaluation.task, "folder": str(folder)},
        blocked=None if there else f"outputs.{cell.variant.name}.{named}: {path}: no such file",
    )
