"""How the variant of a cell answers: it generates text, chooses a label, or reads its classifier's head.

Decided while planning, from what the evaluation declares, what the task offers and what the variant has. A cell
that its variant cannot answer is left out, with the reason: a head that was never trained is no result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tunelab.errors import StudyError
from tunelab.study.cells import By, Cell, Evaluation, Variant
from tunelab.tasks.find import find_task
from tunelab.tasks.mixed import JOINT
from tunelab.tasks.task import has_choices


def answerable(cells: Sequence[Cell], folder: Path) -> tuple[list[Cell], dict[str, str]]:
    """Return the cells with how each answers, and the reasons of those that are left out, by name.

    Raises StudyError for what no variant could do, and when no cell remains.
    """
    for cell in cells:
        _refuse_impossible(cell, folder)
    reasons = {cell.name: reason for cell in cells if (reason := _why_not(cell))}
    kept = [replace(cell, by=way_of(cell, folder)) for cell in cells if cell.name not in reasons]
    for cell in kept:
        _refuse_draws(cell)
    if not kept:
        raise StudyError(f"evaluate: no cell is left, expected one or more; {'; '.join(reasons.values())}")
    return kept, reasons


def heads(variant: Variant) -> tuple[str, ...]:
    """Return the tasks that a variant has a classifier's head for."""
    return tuple(variant.task.split(JOINT)) if _classifies(variant) else ()


def _classifies(variant: Variant) -> bool:
    return variant.train is not None and variant.train.head == "classifier"


def way_of(cell: Cell, folder: Path) -> By:
    """Return how a cell answers: by its head, as declared, or as the task offers."""
    if _classifies(cell.variant):
        return "classifier"
    if cell.variant.served is not None:
        return "generate"
    declared = cell.evaluation.settings.by
    return declared or ("choose" if has_choices(find_task(cell.evaluation.task, folder)) else "generate")


def _why_not(cell: Cell) -> str:
    """Say why a variant cannot answer an evaluation; an empty text when it can."""
    variant, evaluation = cell.variant, cell.evaluation
    declared = evaluation.settings.by
    if variant.served is not None and (reason := _why_not_served(evaluation)):
        return f"{variant.name} is behind a server, {reason}"
    if not _classifies(variant):
        return f"{variant.name} has no classifier's head" if declared == "classifier" else ""
    if declared not in (None, "classifier"):
        return f"{variant.name} has a classifier's head only, and evaluate.{evaluation.name} asks by: {declared}"
    return "" if evaluation.task in heads(variant) else f"{variant.name} has no head for the task {evaluation.task}"


def _why_not_served(evaluation: Evaluation) -> str:
    """Say what a server does not do: text comes out of it, under a chat template that is its own."""
    if evaluation.format.template == "raw":
        return f"which writes conversations by its own template, and evaluate.{evaluation.name} uses template: raw"
    if evaluation.settings.by == "choose":
        return f"which gives no log-probability of a label, and evaluate.{evaluation.name} asks by: choose"
    return ""


def generates_instead(cell: Cell, folder: Path) -> str:
    """Say why a served model writes text where others choose; an empty text where they do not."""
    if cell.variant.served is None or cell.evaluation.settings.by is not None:
        return ""
    if not has_choices(find_task(cell.evaluation.task, folder)):
        return ""
    return (
        f"answers evaluate.{cell.evaluation.name} by: generate, because its server gives no log-probability of a "
        "label; it is compared with others only where the evaluation says by: generate"
    )


def _refuse_impossible(cell: Cell, folder: Path) -> None:
    """Raise StudyError for a choice among none."""
    evaluation = cell.evaluation
    for task in heads(cell.variant):
        if not has_choices(find_task(task, folder)):
            raise StudyError(
                f"train.{cell.variant.name}.head: got classifier, but the task {task} has no choices; use head: lm"
            )
    if evaluation.settings.by == "choose" and not has_choices(find_task(evaluation.task, folder)):
        raise StudyError(
            f"evaluate.{evaluation.name}.by: got choose, but the task {evaluation.task} has no choices; "
            "write by: generate"
        )


def _refuse_draws(cell: Cell) -> None:
    """Raise StudyError where settings of drawn text meet an answer that is not drawn."""
    temperature = cell.evaluation.settings.temperature
    if cell.by != "generate" and temperature > 0:
        raise StudyError(
            f"evaluate.{cell.evaluation.name}.temperature: got {temperature}, expected 0 by: {cell.by}, which draws "
            "nothing; remove it or write by: generate"
        )
