"""Compare: the scored cells of a study against each other. Runs over the cells that exist; the rest are holes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunelab.canonical import canonical
from tunelab.engine.context import StepContext
from tunelab.engine.record import Artifact
from tunelab.files import read_json, read_lines, write_json
from tunelab.scoring.score import Metric, Outcome
from tunelab.study.averages import Averaged
from tunelab.study.comparison import compare
from tunelab.study.denominators import with_denominator
from tunelab.study.scored import Answer, Cell, Scored
from tunelab.study.steps.files import COMPARISON
from tunelab.study.steps.score import SCORES, group_of, read_scores
from tunelab.tasks.find import find_task


def run(context: StepContext) -> None:
    """Write ``comparison.json``. ``task_names`` says by what names tasks are found where they lie elsewhere."""
    folder = Path(context.circumstance["folder"])
    task_names: Mapping[str, str] = context.circumstance.get("task_names", {})
    scored: dict[str, Scored] = {}
    for cell in context.settings["cells"]:
        artifact = context.inputs.get(cell["cell"])
        if artifact is not None:
            name = task_names.get(cell["task"], cell["task"])
            scored[cell["cell"]] = read_scored(cell, artifact, find_task(name, folder).metrics[0])
    holes = [cell for cell in context.settings["cells"] if cell["cell"] not in scored]
    settings = context.settings
    averaged = Averaged(settings["tree"], settings.get("task_weights", {}))
    result = compare(scored, settings["alpha"], averaged, holes, settings.get("contrasts", ()))
    result["holes"] = [cell["cell"] for cell in holes]
    result["missing"] = [{**cell, "error": _reason(context.holes.get(cell["cell"]))} for cell in holes]
    write_json(context.directory / COMPARISON, result)


def read_scored(cell: Cell, artifact: Artifact, metric: Metric) -> Scored:
    """Read a cell's scores from its score step; ``metric`` is the task's first."""
    rows = read_lines(artifact.path(SCORES))
    summary = read_json(artifact.path("summary.json"))
    results = read_json(artifact.path("results.json")) if {"groups", "majority"} & set(summary) else []
    return Scored(
        cell=cell,
        scores=read_scores(rows),
        summary=with_denominator(cell["rows"], summary),
        scorer=canonical({name: artifact.record.settings.get(name) for name in ("scorer", "by", "judges")}),
        clusters={row["id"]: row["cluster"] for row in rows if "cluster" in row},
        metric=metric,
        groups=_groups(summary, results),
        answers=_answers(results) if "majority" in summary else (),
    )


def _groups(summary: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    return {name: {row["id"]: group_of(row["metadata"], name) for row in results} for name in summary.get("groups", {})}


def _answers(results: Sequence[Mapping[str, Any]]) -> list[Answer]:
    """Return what was answered; a reply that never came is no answer that was not understood, and is left out."""
    return [Answer(row["targets"][0], row["answer"]) for row in results if row["outcome"] != Outcome.UNSCORED]


def _reason(why: str | None) -> str:
    return f"no result: {why}" if why else "no result"
