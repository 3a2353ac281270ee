"""Reproducing: the same study over weights that are there already, under a name of its own.

A study's entries are told where their weights are by overrides, as a user would write them. So what a reproduction
evaluates is what ``tunelab run`` evaluates.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunelab.errors import StudyError
from tunelab.study.entries import Train
from tunelab.study.read import read_study

REPRODUCED = "-reproduced"
"""What is added to the study's name, so that its own results stay."""


@dataclass(frozen=True)
class Reproduction:
    """``overrides`` adopt each entry's weights; ``left_out`` are the entries that have none."""

    overrides: list[str]
    left_out: Sequence[str]


def reproduction(name: str, overrides: Sequence[str], adapters: Path | None) -> Reproduction:
    """Find the weights of every entry of ``train``: an override's, then ``adapters/ENTRY``, then the published ones.

    Raises StudyError where no entry has any.
    """
    points = [study for _, study in read_study(name, overrides)]
    entries = {entry: train for study in points for entry, train in study.train.items()}
    if adapters is not None and not adapters.is_dir():
        raise StudyError(f"--adapters: got {adapters}, expected a folder like results/{points[0].study}/models")
    places = {entry: _weights(entry, train, adapters) for entry, train in entries.items()}
    adopted = {entry: place for entry, place in places.items() if place is not None}
    if not adopted:
        raise StudyError(
            f"{name}: no weights are known of {', '.join(entries) or 'any variant'}, expected published ids in the "
            "study; give --adapters DIR or train.NAME.from_checkpoint=PATH"
        )
    new = {entry: place for entry, place in adopted.items() if place != entries[entry].from_checkpoint}
    told = [f"train.{entry}.from_checkpoint={json.dumps(place)}" for entry, place in new.items()]
    own = [f"study={points[0].study}{REPRODUCED}", f"train={','.join(adopted)}"]
    return Reproduction([*overrides, *told, *own], [entry for entry in entries if entry not in adopted])


def _weights(entry: str, train: Train, adapters: Path | None) -> str | None:
    if train.from_checkpoint is not None:
        return train.from_checkpoint
    folder = adapters / entry if adapters else None
    return str(folder.absolute()) if folder and folder.is_dir() else train.published
