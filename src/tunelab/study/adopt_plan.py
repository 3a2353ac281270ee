"""Adopting as a step: trained weights from elsewhere take the place of a training.

What they were trained on and how is not ours to know, so nothing of the entry's recipe is identity but what decides
how the weights are loaded. Rows are not read, and leaks between them and the evaluation cannot be checked.
"""

from __future__ import annotations

from typing import Any

from tunelab.engine.step import Step
from tunelab.study.cells import Variant
from tunelab.study.machine import Machine

KIND = "adopt"
VERSION = 1


def adopt_step(variant: Variant, machine: Machine, slug: str) -> Step:
    """The step that copies a variant's checkpoint and says what it holds."""
    train = variant.train
    assert train is not None
    assert train.from_checkpoint is not None
    model, no_model = machine.model(variant.model)
    checkpoint, no_checkpoint = machine.checkpoint(train.from_checkpoint)
    recipe: dict[str, Any] = {"qlora": train.qlora.identity()} if train.adaptation == "qlora" else {}
    if train.head == "classifier":
        recipe["head"] = train.head
    return Step(
        kind=KIND,
        version=VERSION,
        slug=slug,
        entry="tunelab.study.steps.adopt:run",
        settings={"model": model["identity"], "checkpoint": checkpoint["identity"], "recipe": recipe},
        circumstance={"model": model, "checkpoint": checkpoint, "rank": train.lora.rank, **machine.hardware()},
        blocked=no_model or no_checkpoint,
    )
