"""A step on a few rows, by its own function and the real runner, in a store that is thrown away: what a short
measurement is made of.

Rows are those that are prepared, or that a bundled task makes. A training takes a few optimiser steps of as many rows
as its own, or fewer where a processor would take too long; answers are drawn to their end, and beside it cut after
their first token, which tells reading from writing.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from tunelab.data.sample import Sample
from tunelab.engine.context import StepContext
from tunelab.engine.record import Artifact, Record
from tunelab.engine.runner import Runner, State
from tunelab.engine.step import Step
from tunelab.engine.store import Store
from tunelab.errors import StepError
from tunelab.files import read_lines
from tunelab.generation.footprint import Answering
from tunelab.models.device import Device
from tunelab.models.spec import ModelRef
from tunelab.study.calibration import Measured, adapted, sort_of, texts_of
from tunelab.study.footprints import Work
from tunelab.study.longest import READ, Longest, samples_of, spread_rows
from tunelab.study.steps.rows import write_samples
from tunelab.tasks.find import find_task
from tunelab.training.footprint import Training

METRICS = "metrics.jsonl"
STEPS = 6
"""Optimiser steps of a training; the first is not counted."""
PART = 2.0
"""Seconds that one of them, or the reading of prompts, should take at most, by ``SPEEDS``."""
SPEEDS: Mapping[Device, float] = {"cpu": 2e10, "mps": 5e11, "cuda": 2e13}
"""Multiplications and additions a second that any machine of a kind does."""
FORWARD, BACKWARD = 2, 4
"""Of them for each parameter and token (Kaplan et al. 2020)."""


def write_few(context: StepContext) -> None:
    """Write the rows that a rehearsal is made on."""
    write_samples(context.directory, [Sample.from_json(row) for row in context.circumstance["samples"]])


def borrow(context: StepContext) -> None:
    """Copy what a finished step of another store has made."""
    source = Path(context.circumstance["source"])
    for name in context.circumstance["files"]:
        (context.directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, context.directory / name)
    context.facts.update(context.circumstance["facts"])


class Watch:
    """A reporter that notes when a step moves."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def started(self, step: Step) -> None:
        """A step begins: what the one before it did is forgotten."""
        self.moments = []

    def progressed(self, step: Step, done: int, total: int, unit: str) -> None:
        """Note the time."""
        self.moments.append(perf_counter())

    def ended(self, step: Step, state: State, message: str) -> None:
        """Say nothing."""


@dataclass
class Rehearsal:
    """Measures steps of the plan over ``store`` in a store of its own at ``folder``.

    ``works`` says what steps do, by fingerprint; ``start`` is how many seconds loading the libraries took.
    """

    store: Store
    folder: Path
    works: Mapping[str, Work]
    start: float = 0.0
    _watch: Watch = field(default_factory=Watch)
    _turns: int = 0

    def measure(self, step: Step) -> Measured:
        """Return what a train or generate step of the plan says of its sort. Raises StepError where it cannot be."""
        work = self.works[step.fingerprint]
        return self._training(step, work) if isinstance(work, Training) else self._answering(step, work)

    def _training(self, step: Step, work: Training) -> Measured:
        small = self._small_training(step, work)
        made, moments = self._run(small), self._watch.moments
        each = median(later - earlier for earlier, later in pairwise(moments))
        completions = work.recipe.grpo.num_generations if work.recipe.method == "grpo" else 1
        visits = small.settings["recipe"]["batch_size"] * completions
        lengths = [float(row.get("completions/mean_length", 0)) for row in read_lines(made.path(METRICS))]
        drawn = sum(lengths) / len(lengths) if completions > 1 else None
        return self._measured(step, made.record.seconds - each * len(moments), each / visits, drawn=drawn)

    def _answering(self, step: Step, work: Answering) -> Measured:
        of_row = FORWARD * work.model.parameters * (work.lengths.prompt + work.lengths.answer)
        samples = rows_of(step, self.store, min(2 * work.batch_size, _at_most(of_row, work.device)))
        few, one = _rows(samples), _rows(samples[:1])
        fixed = self._answered(step, one, 1).seconds
        again, reading = self._answered(step, one, 1).seconds, self._answered(step, few, 1).seconds
        row = (reading - again) / (len(samples) - 1) if len(samples) > 1 else again
        if "decoding" not in step.settings:
            return self._measured(step, fixed, row)
        made = self._answered(step, few, step.settings["decoding"]["max_new_tokens"])
        drawn, outputs = made.facts["output_tokens"], made.facts["outputs"]
        return self._measured(step, fixed, row, (made.seconds - reading) / max(1, drawn - outputs), drawn / outputs)

    def _measured(
        self, step: Step, fixed: float, row: float, token: float = 0.0, drawn: float | None = None
    ) -> Measured:
        usual = Longest(self.store).usual(step, ModelRef(**step.circumstance["model"]))
        length = usual and (usual.row if step.kind == "train" else usual.prompt)
        return Measured(
            sort=sort_of(step),
            texts=texts_of(step),
            fixed=max(0.0, fixed),
            row=max(0.0, row),
            token=max(0.0, token),
            start=self.start,
            length=length,
            drawn=drawn,
        )

    def _answered(self, step: Step, rows: Step, budget: int) -> Record:
        return self._run(self._small_answering(step, rows, budget)).record

    def _run(self, step: Step) -> Artifact:
        """Run a step that was not run before: one that is equal to an earlier one is another turn."""
        self._turns += 1
        step = replace(step, settings={**step.settings, "turn": self._turns})
        small = Store(self.folder)
        outcome = Runner(small, self._watch).run([step])
        if not outcome.ok:
            raise StepError("; ".join(outcome.messages.values()))
        return small.open(step)

    def _small_training(self, step: Step, work: Training) -> Step:
        recipe = work.recipe
        each = recipe.grpo.num_generations * (FORWARD + 1) if recipe.method == "grpo" else 1
        of_row = (FORWARD + BACKWARD) * work.model.parameters * work.lengths.row * each
        batch = min(recipe.batch_size, _at_most(of_row, work.device))
        samples = rows_of(step, self.store, batch * STEPS)
        batch = min(batch, len(samples))
        few = {"batch_size": batch, "max_steps": STEPS, "epochs": float(STEPS), "max_too_long": 1.0, "checkpoints": 0}
        rows = {"rows": self._borrowed(step.inputs["rows"]) if "pairs" in step.inputs else _rows(samples)}
        recipe_settings = {**step.settings["recipe"], **few}
        return self._small(step, {**step.settings, "recipe": recipe_settings}, rows)

    def _small_answering(self, step: Step, rows: Step, budget: int) -> Step:
        settings = dict(step.settings)
        if "decoding" in settings:
            settings["decoding"] = {**settings["decoding"], "samples": 1, "max_new_tokens": budget}
        trained = {"trained": self._trained(step.inputs["trained"])} if adapted(step) else {}
        return self._small(step, settings, {"rows": rows, **trained})

    def _small(self, step: Step, settings: Mapping[str, Any], inputs: Mapping[str, Step]) -> Step:
        others = {n: self._borrowed(made) for n, made in step.inputs.items() if n in READ and n not in inputs}
        return replace(step, settings=settings, inputs={**inputs, **others}, after=())

    def _trained(self, step: Step) -> Step:
        """Return what trains an adapter for an answer that is measured: a few steps, where nothing is there yet."""
        if self.store.find(step) is not None:
            return self._borrowed(step)
        work = self.works.get(step.fingerprint)
        if not isinstance(work, Training):
            raise StepError(f"{step.name} is not made yet")
        return self._small_training(step, work)

    def _borrowed(self, step: Step) -> Step:
        found = self.store.find(step)
        if found is None:
            raise StepError(f"{step.name} is not made yet")
        source = {"source": str(found.directory), "files": list(found.record.files), "facts": dict(found.record.facts)}
        return Step(step.kind, step.version, step.slug, f"{__name__}:borrow", step.settings, circumstance=source)


def rows_of(step: Step, store: Store, number: int) -> Sequence[Sample]:
    """Return at most so many of a step's rows; none where they are neither prepared nor made by a bundled task."""
    task = find_task(step.circumstance["task"], Path(step.circumstance["folder"]))
    read = {name: made for name, made in step.inputs.items() if name in READ}
    prepared = {name: found for name, made in read.items() if (found := store.find(made))}
    return samples_of(step, task, prepared, partial(spread_rows, number=number))[:number]


def _rows(samples: Sequence[Sample]) -> Step:
    written = {"samples": [sample.to_json() for sample in samples]}
    return Step("prepare", 1, "few", f"{__name__}:write_few", {"ids": [s.id for s in samples]}, circumstance=written)


def _at_most(operations: float, device: Device) -> int:
    """Return how many rows of so many operations each are done in ``PART``."""
    return max(1, int(PART * SPEEDS[device] / operations))
