"""Select: of several trainings the one that scored best on held-out rows; its files become the step's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunelab.engine.context import StepContext
from tunelab.engine.record import Artifact
from tunelab.errors import DataError
from tunelab.files import read_json, write_json


def run(context: StepContext) -> None:
    """Write the chosen training's files and ``search.json``: every candidate's score by task, and the mean."""
    rates: list[float] = list(context.settings["recipe"]["lr"]["search"])
    table = [_judged(lr, context.inputs) for lr in rates]
    best = max(table, key=lambda row: (row["mean"], -row["lr"]))
    chosen = context.inputs[f"train/{best['lr']!r}"]
    for name in chosen.record.files:
        _link(chosen.path(name), context.directory / name)
    search = {"candidates": table, "chosen": best["lr"], "at_the_edge": best["lr"] in (min(rates), max(rates))}
    write_json(context.directory / "search.json", search)
    context.facts.update(chosen.record.facts)
    context.facts["lr_search"] = search


def _judged(lr: float, inputs: Mapping[str, Artifact]) -> dict[str, Any]:
    """Return a candidate's headline by task, as fractions of each scale, and their mean."""
    prefix = f"score/{lr!r}/"
    scores = {name.removeprefix(prefix): a for name, a in inputs.items() if name.startswith(prefix)}
    values: dict[str, float] = {}
    for task, artifact in scores.items():
        headline, found = next(iter(read_json(artifact.path("summary.json"))["metrics"].items()))
        if found["value"] is None:
            raise DataError(
                f"lr search: {task} could not be scored at lr {lr:g} ({headline} is missing); see its scores"
            )
        values[task] = found["value"] / found.get("scale", 1.0)
    return {"lr": lr, "scores": values, "mean": sum(values.values()) / len(values)}


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
