"""Which trainings may run at once: adapters of one base whose passes are as many and as large as each other's.

What is each adapter's own (rank, learning rate, schedule, clipping, seed) may differ. In fp32, without dropout, what is
computed together is what each computes by itself but for the order of summation, so nothing of it is identity. Whether
it pays is tried by the training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunelab.canonical import fingerprint
from tunelab.engine.step import Step, Together
from tunelab.study.entries import Train
from tunelab.study.spec import Hardware

ENTRY = "tunelab.study.steps.train_together:plan"
OWN = {"lora", "lr", "weight_decay", "warmup", "schedule", "max_grad_norm", "checkpoints"}
"""Settings of a recipe that decide neither about the passes nor about the base."""


def together(
    train: Train, precision: str, hardware: Hardware, settings: Mapping[str, Any], inputs: Mapping[str, Step]
) -> Together | str:
    """Return how a training with a step's ``settings`` and ``inputs`` runs at once with others, or why it does not."""
    if reason := _apart(train, precision, hardware):
        return reason
    passes = {
        "model": settings["model"],
        "recipe": {name: value for name, value in settings["recipe"].items() if name not in OWN},
        "format": settings["format"],
    }
    return Together(
        fingerprint("together", 1, passes, {name: step.fingerprint for name, step in inputs.items()}), ENTRY
    )


def _apart(train: Train, precision: str, hardware: Hardware) -> str | None:
    if hardware.together == "off":
        return "hardware.together is off"
    if train.method != "sft" or train.head != "lm" or train.adaptation != "lora":
        return "only adaptation lora of method sft, without a classifier, is trained together"
    if train.lora.dropout:
        return f"lora.dropout is {train.lora.dropout:g}, expected 0"
    if precision != "fp32":
        return f"precision is {precision}, expected fp32"
    if hardware.packing == "off":
        return "hardware.packing is off"
    if hardware.gradient_checkpointing is True:
        return "hardware.gradient_checkpointing is on"
    return "hardware.track is set, and trackers follow one training at a time" if hardware.track else None
