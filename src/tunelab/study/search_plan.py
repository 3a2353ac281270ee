"""A learning rate of each variant's own, as steps: every candidate is trained, scored on held-out rows, one is kept.

The held-out rows come from the training split and are in no training and no evaluation of the study, so the choice
has seen nothing that the report speaks of. The chosen training is the variant: nothing is trained again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tunelab.engine.step import Step
from tunelab.study.cells import Cell, Evaluation, Variant
from tunelab.study.entries import Evaluate
from tunelab.tasks.mixed import JOINT

VERSION = 1


def candidates(variant: Variant) -> dict[float, Variant]:
    """Return the variant at each candidate learning rate, under the variant's name: it is scored on the same rows."""
    train = variant.train
    assert train is not None
    assert train.lr_search is not None
    return {
        lr: replace(variant, train=train.model_copy(update={"lr": lr, "lr_search": None}))
        for lr in train.lr_search.search
    }


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


def select_step(
    variant: Variant, trained: Mapping[float, Step], scores: Mapping[float, Mapping[str, Step]], slug: str
) -> Step:
    """Keep the candidate with the best mean headline over the tasks; a tie goes to the smaller learning rate."""
    assert variant.train is not None
    first = next(iter(trained.values()))
    recipe: dict[str, Any] = {**first.settings["recipe"], "lr": {"search": list(trained)}}
    inputs = {f"train/{lr!r}": step for lr, step in trained.items()}
    inputs |= {f"score/{lr!r}/{task}": step for lr, found in scores.items() for task, step in found.items()}
    return Step(
        kind="select",
        version=VERSION,
        slug=slug,
        entry="tunelab.study.steps.select:run",
        settings={**first.settings, "recipe": recipe},
        inputs=inputs,
        circumstance=first.circumstance,
        blocked=first.blocked,
    )
