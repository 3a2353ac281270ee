"""Trained weights as a step left them: where they lie, and what they are loaded onto.

One place knows it for variants that were trained here, chosen among several, or adopted: what evaluates them asks
no recipe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunelab.engine.record import Artifact
from tunelab.models.four_bit import FourBit, from_identity
from tunelab.training.checkpoints import kept_checkpoint

MODEL = "model"
"""The folder of a train, select or adopt step that holds the weights."""


@dataclass(frozen=True)
class Trained:
    """Weights in ``folder``: an adapter over its base, which may be in 4 bit, or a whole model."""

    folder: Path
    adapter: bool
    four_bit: FourBit | None


def how_trained(artifact: Artifact, checkpoint: Sequence[int] | None = None) -> Trained:
    """Say how a variant's weights are to be loaded: those at the end of its training, or at a checkpoint, (i, of n)."""
    recipe, adopted = artifact.record.settings["recipe"], artifact.record.facts.get("adopted")
    adapter = adopted["holds"] == "adapter" if adopted else recipe["adaptation"] != "full"
    folder = kept_checkpoint(artifact.record.files, *checkpoint) if checkpoint else MODEL
    return Trained(artifact.path(folder), adapter, four_bit(recipe) if adapter else None)


def four_bit(recipe: Mapping[str, Any]) -> FourBit | None:
    """Return the 4-bit weights that a step's recipe starts from, if it does."""
    return from_identity(recipe["qlora"]) if "qlora" in recipe else None
