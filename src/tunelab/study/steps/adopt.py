"""Adopt: weights that were trained elsewhere become a variant, checked as far as that can be done."""

from __future__ import annotations

from tunelab.engine.context import StepContext
from tunelab.errors import ModelError
from tunelab.models.checkpoint import doubts, fetch, what_it_holds
from tunelab.models.heads import LABELS
from tunelab.models.load import load_config
from tunelab.models.spec import ModelRef
from tunelab.study.steps.trained import MODEL


def run(context: StepContext) -> None:
    """Write ``model/``; the facts say where it came from, what it holds and what in it contradicts the study."""
    circumstance, folder = context.circumstance, context.directory / MODEL
    checkpoint, base = ModelRef(**circumstance["checkpoint"]), ModelRef(**circumstance["model"])
    fetch(checkpoint, folder)
    holds = what_it_holds(folder)
    if context.settings["recipe"].get("head") == "classifier" and not (folder / LABELS).is_file():
        raise ModelError(f"from_checkpoint: {checkpoint.name} has no {LABELS}, expected one for head: classifier")
    context.facts["adopted"] = {
        "from": checkpoint.name,
        "location": checkpoint.location,
        "revision": checkpoint.revision,
        "holds": holds,
        "warnings": doubts(folder, holds, base, load_config(base), circumstance["rank"]),
    }
