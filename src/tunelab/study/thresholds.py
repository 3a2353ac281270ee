"""Thresholds: what a study asks of its scores, said in two places and judged as one.

``evaluate.NAME.at_least`` holds for every variant of an evaluation, ``baselines`` for one variant under one
evaluation. A name stands for all its seeds and all points of a sweep. Where both name a metric the higher minimum
counts, in the metric's own units: 0.31 of an accuracy, 31 of a BLEU in points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunelab.errors import StudyError, nearest
from tunelab.study.cells import Cell, plain_name
from tunelab.study.spec import Study
from tunelab.tasks.find import find_task

Minimums = Mapping[str, float]


def minimums(study: Study, cell: Cell, folder: Path) -> dict[str, float]:
    """Return the minimum of each metric that the study declares one for."""
    declared = [cell.evaluation.settings.at_least, *_baselines(study, cell, headline(cell, folder))]
    names = dict.fromkeys(metric for asked in declared for metric in asked)
    return {name: max(asked[name] for asked in declared if name in asked) for name in names}


def headline(cell: Cell, folder: Path) -> str:
    """Return the first metric of a cell's task."""
    return find_task(cell.evaluation.task, folder).metrics[0].name


def refuse_unknown(study: Study, cells: Sequence[Cell], folder: Path) -> None:
    """Raise StudyError for an evaluation, a metric or a cell that is not there; the study itself refuses variants."""
    evaluations = {*study.evaluate, *(cell.evaluation.name for cell in cells)}
    for cell in cells:
        _check(cell.evaluation.settings.at_least, cell, f"evaluate.{cell.evaluation.name}.at_least", folder)
    for variant, asked in study.baselines.items():
        if variant in study.unselected:
            continue
        for evaluation, minimum in asked.items():
            where = f"baselines.{variant}"
            _refuse_other(evaluation, evaluations, where, "evaluation")
            found = [c for c in cells if _stands_for(variant, c.variant.name, evaluation, c.evaluation.name)]
            if not found:
                raise StudyError(f"{where}.{evaluation}: {evaluation} does not score {variant}, expected one that does")
            for cell in found:
                _check(_by_metric(minimum, headline(cell, folder)), cell, f"{where}.{evaluation}", folder)


def _baselines(study: Study, cell: Cell, first: str) -> list[Minimums]:
    return [
        _by_metric(minimum, first)
        for variant, asked in study.baselines.items()
        for evaluation, minimum in asked.items()
        if _stands_for(variant, cell.variant.name, evaluation, cell.evaluation.name)
    ]


def _stands_for(variant: str, variant_name: str, evaluation: str, evaluation_name: str) -> bool:
    return variant in _names(variant_name) and evaluation in _names(evaluation_name)


def _names(name: str) -> tuple[str, str]:
    """A name as it is and without what a seed or a sweep adds."""
    return name, plain_name(name)


def _by_metric(minimum: float | Minimums, first: str) -> Minimums:
    return minimum if isinstance(minimum, Mapping) else {first: minimum}


def _check(asked: Minimums, cell: Cell, where: str, folder: Path) -> None:
    """Refuse a metric that the cell's task does not have, and a minimum that nothing can be compared with."""
    known = [metric.name for metric in find_task(cell.evaluation.task, folder).metrics]
    known += [f"{known[0]}_by_{judge}" for judge in cell.evaluation.settings.judges]
    for metric, minimum in asked.items():
        _refuse_other(metric, known, where, "metric")
        if not math.isfinite(minimum):
            raise StudyError(f"{where}.{metric}: got {minimum}, expected a finite number")


def _refuse_other(name: str, known: Sequence[str] | set[str], where: str, what: str) -> None:
    if name not in known:
        raise StudyError(f"{where}: unknown {what} {name!r}{nearest(name, known)}")
