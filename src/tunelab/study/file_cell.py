"""A file of another program's outputs as a cell, beside a finished one: the same rows, the installed scorer.

The steps that import and score are run as a study runs them, in a folder that nobody keeps. To keep the scores, and
for a task whose outputs are judged, the file belongs into a study, under ``outputs``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunelab.engine.context import StepContext
from tunelab.engine.folder import file_entry, result_files
from tunelab.engine.record import Artifact, Record
from tunelab.errors import StudyError
from tunelab.files import known_sha256
from tunelab.study.import_plan import KIND
from tunelab.study.located import Located
from tunelab.study.steps import import_outputs, score
from tunelab.tasks.find import find_task
from tunelab.tasks.identity import scorer_identity
from tunelab.tasks.task import is_judged


def cell_of_file(path: Path, like: Located, scratch: Path) -> Located:
    """Import and score a file on the rows of another cell; ``scratch`` is a folder for the two steps.

    Raises StudyError where the rows are gone or the outputs need a judge, DataError for a file that does not fit.
    """
    made = like.score.record
    folder, rows = Path(made.circumstance["folder"]), like.behind("rows")
    task = find_task(like.row["task"], folder)
    if rows is None or is_judged(task):
        lacking = "whose outputs a judge reads" if rows else "whose rows are no more in its store"
        raise StudyError(f"{path}: {like.name} is of a task {lacking}; import the file in a study, under outputs")
    by = like.row.get("by", "generate")
    about = {"task": like.row["task"], "folder": str(folder)}
    outputs = _run(
        import_outputs.run,
        replace(
            made, kind=KIND, settings={"file": {"sha256": known_sha256(path)}, "by": by, "partial": "refuse"}, inputs={}
        ),
        {**about, "file": str(path)},
        {"rows": rows},
        scratch / "outputs",
    )
    settings = {name: made.settings[name] for name in ("by", "judges") if name in made.settings}
    settings["scorer"] = scorer_identity(task, like.row["task"], folder)
    scored = _run(
        score.run,
        replace(made, settings=settings, inputs={"rows": made.inputs["rows"]}),
        about,
        {"rows": rows, "outputs": outputs},
        scratch / "scores",
    )
    return replace(like, row={**like.row, "cell": str(path)}, score=scored, file=outputs)


def _run(
    step: Any, record: Record, circumstance: Mapping[str, Any], inputs: Mapping[str, Artifact], at: Path
) -> Artifact:
    """Run a step's function in a folder of its own and return what it left there."""
    at.mkdir(parents=True)
    context = StepContext(record.settings, circumstance, inputs, {}, at, _silent)
    step(context)
    files = {name: file_entry(at / name) for name in result_files(at)}
    return Artifact(replace(record, circumstance=circumstance, facts=context.facts, files=files), at)


def _silent(done: int, total: int, unit: str) -> None:
    """Reading and scoring take seconds."""
