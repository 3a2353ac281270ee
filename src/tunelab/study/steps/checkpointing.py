"""Whether a training computes activations again in its backward pass: as asked, or where its memory asks for it.

The decision stands on the same estimate as a plan's, with the rows that are there by now. It is kept in the scratch
folder, so that an interrupted training goes on as it began.
"""

from __future__ import annotations

from typing import Any

from tunelab.engine.context import StepContext
from tunelab.files import read_json, write_json
from tunelab.models.architecture import architecture
from tunelab.models.spec import ModelRef, known_config
from tunelab.study.footprints import AUTO, Footprint, as_it_runs, room_of, total_of, training_footprint
from tunelab.study.longest import longest_of
from tunelab.training.footprint import Training

DECIDED = "gradient_checkpointing"


def checkpoints(context: StepContext, ref: ModelRef) -> bool:
    """Say whether to checkpoint, and note in the facts what decided where the study leaves it open."""
    asked = context.circumstance["hardware"]["gradient_checkpointing"]
    if asked != AUTO:
        return asked
    kept = context.scratch / f"{DECIDED}.json"
    if not kept.exists():
        write_json(kept, _decided(context, ref))
    context.facts[DECIDED] = read_json(kept)
    return context.facts[DECIDED]["on"]


def _decided(context: StepContext, ref: ModelRef) -> dict[str, Any]:
    """Return the decision as plain JSON, with the bytes that it stands on: they are null where they are not known."""
    room, config = room_of(context.circumstance["hardware"]), known_config(ref)
    model = architecture(config) if config else None
    found = training_footprint(context, model, longest_of(context, ref, context.inputs)) if model else None
    if not isinstance(found, Footprint):
        return {"on": False, "without": None, "with": None, "available": room}
    runs = as_it_runs(found.work, room)
    assert isinstance(runs, Training)
    on = runs.gradient_checkpointing
    return {"on": on, "without": found.total, "with": total_of(runs) if on else None, "available": room}
