"""Select: of several candidates the one that scored best on held-out rows; its files become the step's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunelab.engine.context import StepContext
from tunelab.engine.record import Artifact
from tunelab.errors import DataError
from tunelab.files import read_json, read_lines, to_csv, write_atomic, write_json
from tunelab.training.checkpoints import checkpoint_step, kept_checkpoint

CHECKPOINT_SCORES = "checkpoint_scores.csv"
METRICS = "metrics.jsonl"
WEIGHTS = ".safetensors"


def run(context: StepContext) -> None:
    """Write the chosen candidate's files and ``search.json``: every candidate's score by task, and the mean.

    Checkpoints that are chosen among are in ``checkpoint_scores.csv`` too.
    """
    by: str = context.settings["search"]
    table = {label: _judged(label, by, context) for label in context.settings["candidates"]}
    best = max(table, key=lambda label: table[label]["mean"])
    search = {"by": by, "asked": len(table), "candidates": _once(table), "chosen": table[best]["candidate"]}
    chosen = context.inputs[f"train/{best}"]
    for name, source in _files(chosen, best, by, len(table)).items():
        _link(source, context.directory / name)
    write_json(context.directory / "search.json", search)
    if by == "checkpoints":
        write_atomic(context.directory / CHECKPOINT_SCORES, to_csv(checkpoint_rows(search)))
    context.facts.update(chosen.record.facts)
    context.facts["search"] = search


def _once(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List each candidate once: a training of few steps has one checkpoint at several points."""
    return list({row["candidate"]: row for row in table.values()}.values())


def _judged(label: str, by: str, context: StepContext) -> dict[str, Any]:
    """Return what a candidate is, its headline by task as fractions of each scale, and their mean."""
    prefix = f"score/{label}/"
    scores = {name.removeprefix(prefix): a for name, a in context.inputs.items() if name.startswith(prefix)}
    found = {task: _headline(task, f"{by} {label}", artifact) for task, artifact in scores.items()}
    mean = sum(row["value"] for row in found.values()) / len(found)
    return {**_candidate(label, by, context), "scores": found, "mean": mean}


def _candidate(label: str, by: str, context: StepContext) -> dict[str, Any]:
    """Return the learning rate, or the checkpoint's optimiser step and the passes over the rows up to it."""
    if by == "lr":
        return {"candidate": float(label)}
    training = context.inputs[f"train/{label}"]
    step = checkpoint_step(kept_checkpoint(training.record.files, int(label), len(context.settings["candidates"])))
    return {"candidate": step, "epoch": _epoch(training, step)}


def _epoch(training: Artifact, step: int) -> float | None:
    """Return how many passes a training had made after a step, from what it logged last."""
    rows = [row for row in read_lines(training.path(METRICS)) if row.get("epoch") is not None]
    return round(rows[-1]["epoch"] * step / rows[-1]["step"], 4) if rows else None


def checkpoint_rows(search: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row a checkpoint and task of a search; ``mean`` is over the tasks, ``chosen`` is yes or no."""
    return [
        {
            "step": found["candidate"],
            "epoch": found["epoch"],
            "task": task,
            **score,
            "mean": found["mean"],
            "chosen": "yes" if found["candidate"] == search["chosen"] else "no",
        }
        for found in search["candidates"]
        for task, score in found["scores"].items()
    ]


def _headline(task: str, candidate: str, artifact: Artifact) -> dict[str, Any]:
    metric, found = next(iter(read_json(artifact.path("summary.json"))["metrics"].items()))
    if found["value"] is None:
        raise DataError(f"search: {task} could not be scored at {candidate} ({metric} is missing); see its scores")
    scale: float = found.get("scale", 1.0)
    parts = {part: None if found[part] is None else found[part] / scale for part in ("value", "low", "high")}
    return {"metric": metric, **parts, "n": found["n"]}


def _files(training: Artifact, label: str, by: str, points: int) -> dict[str, Path]:
    """Return a candidate's files by their names here: a checkpoint's weights take the place of those at the end."""
    files = {name: training.path(name) for name in training.record.files}
    if by == "lr":
        return files
    folder = kept_checkpoint(training.record.files, int(label), points)
    own = {f"model/{name.removeprefix(f'{folder}/')}": path for name, path in files.items() if _within(name, folder)}
    if lost := [name for name in files if _within(name, "model") and name.endswith(WEIGHTS) and name not in own]:
        raise DataError(f"{folder}: has no {', '.join(lost)}, expected all weights; train again")
    return files | own


def _within(name: str, folder: str) -> bool:
    return name.startswith(f"{folder}/")


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
