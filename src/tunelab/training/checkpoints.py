"""Checkpoints that can be trusted: when they are made, which are whole, which are kept.

A checkpoint counts only once its marker is written, after everything else has reached the disk: a kill while
saving leaves a folder without one, which the next attempt removes.
"""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from tunelab.errors import ModelError
from tunelab.files import sync_file

MARKER = "complete"
KEPT = re.compile(r"checkpoints/step-\d+")


def save_steps(total: int, points: int) -> set[int]:
    """Return ``points`` evenly spaced steps, the last one at the end; all steps when there are fewer."""
    return {math.ceil(i * total / points) for i in range(1, points + 1)}


def mark_whole(folder: Path) -> None:
    """Mark a checkpoint as whole once all of it is on the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            sync_file(path)
    (folder / MARKER).touch()


def last_checkpoint(scratch: Path) -> Path | None:
    """Return the newest whole checkpoint; remove those that a kill left half-written."""
    whole: list[Path] = []
    for folder in scratch.glob("checkpoint-*"):
        if (folder / MARKER).exists():
            whole.append(folder)
        else:
            shutil.rmtree(folder)
    return max(whole, key=_step, default=None)


def common_checkpoint(scratches: Sequence[Path]) -> int | None:
    """Return the newest step of which all trainings have a whole checkpoint, 0 where they begin anew.

    None where one of them would lose more than its newest checkpoint by going on from there.
    """
    whole = [{_step(path.parent) for path in scratch.glob(f"checkpoint-*/{MARKER}")} for scratch in scratches]
    common = max(set[int].intersection(*whole), default=0)
    return common if all(sum(step > common for step in steps) <= 1 for steps in whole) else None


def forget_after(scratch: Path, step: int) -> None:
    """Remove the checkpoints after a step."""
    for folder in scratch.glob("checkpoint-*"):
        if _step(folder) > step:
            (folder / MARKER).unlink(missing_ok=True)
            shutil.rmtree(folder)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def keep_checkpoints(scratch: Path, directory: Path) -> None:
    """Keep every checkpoint under ``checkpoints/``, weights only; the scratch folder stays fit to resume from."""
    for folder in scratch.glob("checkpoint-*"):
        target = directory / "checkpoints" / f"step-{_step(folder):06d}"
        target.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.suffix in (".safetensors", ".json") and path.name != "trainer_state.json":
                _link_or_copy(path, target / path.name)


def kept_checkpoints(files: Iterable[str]) -> list[str]:
    """Return the folders of the checkpoints among a training's files, the earliest first."""
    return sorted({name[: found.end()] for name in files if (found := KEPT.match(name))})


def kept_checkpoint(files: Iterable[str], point: int, points: int) -> str:
    """Return the folder of the checkpoint at ``point`` of ``points`` evenly spaced ones, among a training's files.

    A training of fewer steps kept fewer: then neighbouring points share one. Raises ModelError where none was kept.
    """
    kept = kept_checkpoints(files)
    if not kept:
        raise ModelError(f"checkpoint {point} of {points}: the training kept none, expected at least one")
    return kept[math.ceil(point * len(kept) / points) - 1]


def checkpoint_step(folder: str) -> int:
    """Return the optimiser step after which a kept checkpoint was made."""
    return int(folder.rpartition("-")[2])


def _link_or_copy(path: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(path)
    except OSError:
        shutil.copyfile(path, target)
