"""What short measurements on this machine say of a step's time, kept in the store for the plans that follow.

A measurement holds for steps of the same sort: the same model, way of training or answering, precision, batch sizes,
machine and versions of the libraries. It splits a step's time into what every step of the sort takes, what a row takes
and what a drawn token takes; rows and tokens are known to a plan. Nothing is measured here: ``rehearsal.py`` does that.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from tunelab.canonical import canonical, fingerprint
from tunelab.engine.step import Step
from tunelab.engine.store import Store
from tunelab.files import read_json, write_json
from tunelab.models.device import Device

FOLDER = Path("cache", "calibration")
VERSION = 1
LIBRARIES = ("tunelab", "torch", "transformers", "trl", "peft")
PROCESSORS = Path("/proc/cpuinfo")
OF_TRAINING = ("micro_batch_size", "packing", "gradient_checkpointing", "generation", "rollouts", "rollout_batch_size")
OF_ANSWERING = ("generation_batch_size", "generation")
OF_RECIPE = ("method", "adaptation", "loss", "batch_size", "head", "lora", "qlora", "grpo", "dpo")


@dataclass(frozen=True)
class Measured:
    """Seconds by what they go with, and the texts that they were measured on."""

    sort: Mapping[str, Any]
    texts: Mapping[str, Any]
    fixed: float
    """Of a step, whatever its rows."""
    row: float
    """Of a visit to a row: learning it or a completion, or reading it as a prompt."""
    token: float = 0.0
    """Of a token of an answer."""
    start: float = 0.0
    """Of loading the libraries, once a run."""
    length: int | None = None
    """Mean tokens of the rows, of prompts where they are answered; None where they could not be counted."""
    drawn: float | None = None
    """Mean tokens of the answers or completions that were drawn."""

    def of(self, texts: Mapping[str, Any]) -> bool:
        """Say whether it was measured on the same task in the same format."""
        return dict(self.texts) == dict(texts)


def texts_of(step: Step) -> dict[str, Any]:
    """Return what a step's texts are made by."""
    return {"task": step.circumstance["task"], "format": step.settings["format"]}


def sort_of(step: Step) -> dict[str, Any]:
    """Return what decides about the seconds of a row and a token in a train or generate step, as plain JSON.

    GRPO draws: what it draws belongs to it. Fully trained weights answer as fast as those of the base.
    """
    settings, hardware = step.settings, step.circumstance["hardware"]
    where = {"machine": machine(hardware["device"]), "versions": versions()}
    if step.kind == "train":
        recipe = {name: settings["recipe"].get(name) for name in OF_RECIPE}
        how = {"recipe": recipe, "precision": settings["recipe"]["precision"], **_some(hardware, OF_TRAINING)}
        how |= texts_of(step) if recipe["method"] == "grpo" else {}
    else:
        trained = step.inputs["trained"].settings["recipe"] if adapted(step) else {}
        adapter = {name: trained.get(name) for name in ("adaptation", "lora", "qlora")} if trained else None
        answers = {name: settings.get(name) for name in ("by", "precision", "weights")}
        how = {**answers, "adapter": adapter, **_some(hardware, OF_ANSWERING)}
    return json.loads(canonical({"kind": step.kind, "model": settings["model"], **where, **how}))


def adapted(step: Step) -> bool:
    """Say whether a generate step's weights are more than a model's own: an adapter, or heads of a classifier."""
    trained = step.inputs.get("trained")
    if trained is None:
        return False
    return step.settings.get("by") == "classifier" or trained.settings["recipe"].get("adaptation") != "full"


def _some(hardware: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: hardware.get(name) for name in names}


@cache
def versions() -> dict[str, str]:
    """Return the versions of what computes."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


@cache
def machine(device: Device) -> dict[str, Any]:
    """Return what seconds depend on: the GPU, or the processor and how many threads it is given."""
    if device == "cuda":
        import torch

        return {"device": device, "name": torch.cuda.get_device_name()}
    lines = PROCESSORS.read_text().splitlines() if PROCESSORS.is_file() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {"device": device, "name": name, "threads": os.environ.get("OMP_NUM_THREADS") or os.cpu_count()}


@dataclass(frozen=True)
class Calibrations:
    """The measurements that a store keeps."""

    store: Store

    def keep(self, found: Measured) -> None:
        """Write one, in the place of any of the same sort on the same texts."""
        name = fingerprint("calibration", VERSION, found.sort, found.texts)[:16]
        folder = self.store.root / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / f"{name}.json", asdict(found))

    def find(self, step: Step) -> Measured | None:
        """Return what holds for a train or generate step, where it can from the same texts; None where nothing does."""
        sort, texts = sort_of(step), texts_of(step)
        alike = [found for found in self._all() if found.sort == sort]
        return next((found for found in alike if found.of(texts)), alike[0] if alike else None)

    def _all(self) -> list[Measured]:
        written = [read_json(path) for path in sorted((self.store.root / FOLDER).glob("*.json"))]
        return [Measured(**values) for values in written if values.keys() == {field.name for field in fields(Measured)}]
