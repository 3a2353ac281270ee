"""A choice among candidates, as steps: each is scored on held-out rows, and the best is the variant.

Candidates are trainings at other learning rates, or the checkpoints of one training. The held-out rows come from the
training split and are in no training and no evaluation of the study, so the choice has seen nothing that the report
speaks of. Nothing is trained again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tunelab.engine.step import Step
from tunelab.study.cells import Cell, Evaluation, Variant
from tunelab.study.entries import Evaluate, LrSearch
from tunelab.tasks.mixed import JOINT

KIND = "select"
VERSION = 2


def candidates(variant: Variant) -> dict[str, Variant]:
    """Return a searched variant's candidates under its own name, so that they are scored on the same rows.

    A tie goes to the first of them: the smaller learning rate, or the earlier checkpoint.
    """
    train = variant.train
    assert train is not None
    assert train.searched is not None
    if isinstance(search := train.searched, LrSearch):
        rates = {lr: train.model_copy(update={"lr": lr, "lr_search": None}) for lr in sorted(search.search)}
        return {repr(lr): replace(variant, train=one) for lr, one in rates.items()}
    plain = train.model_copy(update={"checkpoint_search": None})
    points = range(1, search.search + 1)
    return {str(i): replace(variant, train=plain, checkpoint=(i, search.search)) for i in points}


def validations(candidate: Variant) -> dict[str, Cell]:
    """Return, by task, how a candidate is judged: in its training format, as the task says, greedily."""
    train, fmt = candidate.train, candidate.format
    assert train is not None
    assert fmt is not None
    settings = Evaluate(format=train.format, precision=train.precision)
    return {
        task: Cell(candidate, Evaluation(f"held-out-{task}", settings, fmt, task), None, None)
        for task in candidate.task.split(JOINT)
    }


def first_training(step: Step) -> Step:
    """Return the training behind a variant's step: of several candidates the first, as all have the same rows."""
    return next(iter(step.inputs.values())) if step.kind == KIND else step


def select_step(
    variant: Variant, trained: Mapping[str, Step], scores: Mapping[str, Mapping[str, Step]], slug: str
) -> Step:
    """Keep the candidate with the best mean headline over the tasks; a tie goes to the first."""
    assert variant.train is not None
    by, values = ("lr", list(map(float, trained))) if variant.train.lr_search else ("checkpoints", len(trained))
    first = next(iter(trained.values()))
    recipe: dict[str, Any] = {**first.settings["recipe"], by: {"search": values}}
    inputs = {f"train/{label}": step for label, step in trained.items()}
    inputs |= {f"score/{label}/{task}": step for label, found in scores.items() for task, step in found.items()}
    return Step(
        kind=KIND,
        version=VERSION,
        slug=slug,
        entry="tunelab.study.steps.select:run",
        settings={**first.settings, "recipe": recipe, "search": by, "candidates": list(trained)},
        inputs=inputs,
        circumstance=first.circumstance,
        blocked=first.blocked,
    )
