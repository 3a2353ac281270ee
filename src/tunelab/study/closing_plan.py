"""The two steps that end a study: the comparison of its scores, and the report on everything that was done.

Both are tolerant: what has no result is a hole in them, and its reason stands where the number would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunelab.engine.plan import topological
from tunelab.engine.step import Step
from tunelab.study.adopt_plan import KIND as ADOPT
from tunelab.study.cells import Cell, describe_cell
from tunelab.study.contrasts import contrasts, differing, refuse_other_rows
from tunelab.study.denominators import declared_rows
from tunelab.study.endpoint_model import AnyModel
from tunelab.study.spec import Study
from tunelab.study.thresholds import headline, minimums

VERSIONS = {"compare": 8, "report": 12}

Steps = Mapping[str, Step]

VERDICTS_OF = "verdicts/"
"""What the names of a score step's inputs from judges begin with."""


def compare_step(study: Study, cells: Sequence[Cell], scores: Steps, folder: Path) -> Step:
    """Compare the scored cells with each other and, where there is a tree of tasks, over its groups.

    Raises StudyError for a contrast of cells that are scored on other rows.
    """
    pairs = contrasts(study, cells)
    refuse_other_rows(pairs, scores)
    return Step(
        kind="compare",
        version=VERSIONS["compare"],
        slug=slug(study.study),
        entry="tunelab.study.steps.compare:run",
        settings={
            "cells": [_described(study, c, folder) for c in cells],
            "contrasts": [[one.name, other.name, differing(one, other)] for one, other in pairs],
            "alpha": study.alpha,
            "tree": study.tasks,
            **({"task_weights": study.leaf_weights()} if study.task_weights else {}),
        },
        inputs=dict(scores),
        circumstance={"folder": str(folder)},
        tolerant=True,
    )


def _described(study: Study, cell: Cell, folder: Path) -> dict[str, Any]:
    """What the comparison needs to know of a cell, with what the study asks of it."""
    described = describe_cell(cell)
    if cell.variant.model in study.stand_ins:
        described.pop("price", None)  # nobody was paid
        described.pop("imported", None)
    return {
        **described,
        "headline": headline(cell, folder),
        "at_least": minimums(study, cell, folder),
        "rows": declared_rows(study, cell.evaluation, folder),
    }


def report_step(
    study: Study,
    left_out: Mapping[str, str],
    notices: Mapping[str, str],
    compare: Step,
    scores: Steps,
    train: Steps,
    checks: Sequence[Step],
) -> Step:
    """Report from the records and files of everything that was done."""
    return Step(
        kind="report",
        version=VERSIONS["report"],
        slug=slug(study.study),
        entry="tunelab.report.build:run",
        settings={
            "study": _declared(study),
            "left_out": dict(left_out),
            "notices": dict(notices),
        },
        inputs={
            **{f"check/{i}": step for i, step in enumerate(checks)},  # first: a leak must not wait for a large model
            "compare": compare,
            **{f"score/{name}": step for name, step in scores.items()},
            **_outputs(scores),
            **_verdicts(scores),
            **{f"{ADOPT if step.kind == ADOPT else 'train'}/{name}": step for name, step in train.items()},
            **_prepared(scores, train),
        },
        circumstance={"hardware": study.hardware.model_dump(mode="json")},
        tolerant=True,
    )


def _declared(study: Study) -> dict[str, Any]:
    """The study as a report shows it, without what only runs it."""
    models = {name: _model(model) for name, model in study.models.items()}
    left_out = {"hardware"} if study.stand_ins else {"hardware", "stand_ins"}
    return {**study.model_dump(mode="json", exclude=left_out), "model": _model(study.model), "models": models}


def _model(model: AnyModel) -> str | dict[str, Any]:
    return model if isinstance(model, str) else model.declared()


def _outputs(scores: Steps) -> dict[str, Step]:
    """The steps that left the outputs: those that asked a model, and those that read a file."""
    found = {name: step.inputs["outputs"] for name, step in scores.items()}
    return {f"{step.kind}/{name}": step for name, step in found.items()}


def _verdicts(scores: Steps) -> dict[str, Step]:
    """Every judge's step, by cell and judge."""
    found = {cell: verdict_steps(score) for cell, score in scores.items()}
    return {f"judge/{cell}/{judge}": step for cell, judges in found.items() for judge, step in judges.items()}


def verdict_steps(score: Step) -> dict[str, Step]:
    """Return the judge steps among a score step's inputs, by the judge's name."""
    return {name.removeprefix(VERDICTS_OF): s for name, s in score.inputs.items() if name.startswith(VERDICTS_OF)}


def _prepared(scores: Steps, train: Steps) -> dict[str, Step]:
    """Every prepare, mix and pairs step behind the scores and the trained variants, and the draws behind pairs."""
    work = topological([*scores.values(), *train.values()])
    found = {f"{s.kind}/{s.slug}-{s.fingerprint[:8]}": s for s in work if s.kind in ("prepare", "mix", "pairs")}
    drawn = {s.inputs["outputs"].fingerprint: s.inputs["outputs"] for s in found.values() if "outputs" in s.inputs}
    return found | {f"draws/{s.slug}-{s.fingerprint[:8]}": s for s in drawn.values()}


def slug(name: str) -> str:
    """Return a name as a folder may be called."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name)[:60]
