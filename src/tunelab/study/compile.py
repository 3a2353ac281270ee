"""From cells to steps: the smallest plan, because equal work has equal fingerprints.

Nothing here looks for duplicates. A variant evaluated in two formats is one train step and two generate steps
because both cells ask for a train step with the same identity. What identity means for each kind of step is
written in this file and nowhere else; raise a kind's version when its function starts to compute differently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tunelab.data.sources import BuiltinSource, FileSource, HubSource, Source, mirror_source
from tunelab.engine.plan import topological
from tunelab.engine.step import Step
from tunelab.errors import DataError, ModelError, StudyError
from tunelab.formats.format import Format
from tunelab.models import device as devices
from tunelab.models.spec import ModelRef, resolve
from tunelab.study.cells import Cell, Evaluation, Variant, cells
from tunelab.study.spec import Data, Size, Study
from tunelab.tasks import task as tasks

VERSIONS = {"prepare": 1, "check": 1, "train": 1, "generate": 1, "score": 1, "compare": 1, "report": 1}


@dataclass(frozen=True)
class Compiled:
    """A study's steps by what a person calls them."""

    study: Study
    cells: list[Cell]
    train: dict[str, Step]
    """Variant name to its train step; the base has none."""
    scores: dict[str, Step]
    """Cell name to its score step."""
    checks: list[Step]
    compare: Step
    report: Step
    folder: Path

    def restricted(self, kept: Sequence[Cell]) -> Compiled:
        """Return the plan of some of the cells."""
        return _Compiler(self.study, list(kept), self.folder).compile()

    def without_work(self, finished: Callable[[Step], bool]) -> Compiled:
        """Return the plan in which only what is finished feeds comparison and report; the rest are holes."""
        compare = self.compare.with_inputs({n: s for n, s in self.compare.inputs.items() if finished(s)})
        kept = {n: s for n, s in self.report.inputs.items() if n != "compare" and finished(s)}
        return replace(self, compare=compare, report=self.report.with_inputs({"compare": compare, **kept}))


def compile_study(points: Sequence[tuple[str, Study]], folder: Path | None = None) -> Compiled:
    """Return the plan of a study. ``folder`` is where relative paths in it start. Raises UserError."""
    return _Compiler(_whole(points), cells(points), folder or Path.cwd()).compile()


def _whole(points: Sequence[tuple[str, Study]]) -> Study:
    """Return the first point with the formats of all points; what a study has once must be equal in all of them."""
    study = points[0][1]
    formats = dict(study.formats)
    for label, point in points[1:]:
        for name in ("data", "alpha", "hardware"):
            if getattr(point, name) != getattr(study, name):
                raise StudyError(
                    f"sweep: {name} differs at {label}, expected one for the whole study; "
                    "sweep models, tasks, formats, recipes or evaluations"
                )
        formats |= {f"{name}@{label}": f for name, f in point.formats.items() if f not in formats.values()}
    return study.model_copy(update={"formats": formats})


@dataclass
class _Compiler:
    study: Study
    cells: list[Cell]
    folder: Path
    _models: dict[str, ModelRef | str] = field(default_factory=dict[str, "ModelRef | str"])

    def compile(self) -> Compiled:
        scores = {cell.name: self.score(cell) for cell in self.cells}
        variants = {cell.variant.name: cell.variant for cell in self.cells}
        train = {name: self.train(variant) for name, variant in variants.items() if variant.train}
        checks = _unique(check for step in train.values() for check in step.after)
        compare = self.compare(scores)
        report = self.report(compare, scores, train, checks)
        return Compiled(self.study, self.cells, train, scores, checks, compare, report, self.folder)

    @cached_property
    def device(self) -> devices.Device:
        chosen, found = self.study.hardware.device, devices.detect()
        if chosen not in ("auto", "cpu", found):
            raise StudyError(f"hardware.device: got {chosen!r}, but this machine has {found!r}; use auto")
        return found if chosen == "auto" else chosen

    def precision(self, declared: str) -> str:
        """Resolve auto: what is computed in another precision is another result."""
        return devices.default_precision(self.device) if declared == "auto" else declared

    def prepare(self, task: str, split: str, select: Mapping[str, Any], avoid: Sequence[Step] = ()) -> Step:
        """Rows of a split: a subset, or the worked examples of a format."""
        found = tasks.find_task(task, self.folder)
        settings: dict[str, Any] = {"task": self.task_identity(task), "split": split, **select}
        blocked = None
        try:
            source = choose_source(found, self.study.data, self.folder, self.study.smoke)
            settings["source"] = None if source is None else source.identity(split)
        except DataError as error:
            settings["source"], blocked = None, str(error)
        return Step(
            kind="prepare",
            version=VERSIONS["prepare"],
            slug=f"{found.name}-{split}" + ("-shots" if "shots" in select else ""),
            entry="tunelab.study.steps.prepare:run",
            settings=settings,
            inputs={f"avoid_{i}": step for i, step in enumerate(avoid)},
            circumstance={
                "task": task,
                "folder": str(self.folder),
                "data": self.study.data.model_dump(mode="json"),
                "smoke": self.study.smoke,
            },
            blocked=blocked,
        )

    def evaluation_rows(self, evaluation: Evaluation) -> Step:
        settings, task = evaluation.settings, tasks.find_task(evaluation.task, self.folder)
        split = settings.split or task.test_split
        reserved = self.reserved() if split == task.train_split else {}
        return self.prepare(evaluation.task, split, self.subset(settings.rows, settings.rows_seed) | reserved)

    def reserved(self) -> dict[str, Any]:
        """Leave the worked examples of every format out of the rows, so that no prompt holds its own question."""
        shots = sorted({(f.few_shots.seed, f.few_shots.k) for f in self.study.formats.values() if f.few_shots.k})
        return {"reserve": [{"seed": seed, "k": k} for seed, k in shots]}

    def subset(self, rows: Size, seed: int) -> dict[str, Any]:
        return {"rows": rows, "seed": seed, **({"at_most": True} if self.study.smoke else {})}

    def shots(self, task: str, fmt: Format) -> Step | None:
        """Worked examples of a format, drawn from the training split."""
        if fmt.few_shots.k == 0:
            return None
        split = tasks.find_task(task, self.folder).train_split
        return self.prepare(task, split, {"shots": {"k": fmt.few_shots.k, "seed": fmt.few_shots.seed}})

    def training_rows(self, variant: Variant) -> Step:
        assert variant.train is not None
        select = self.subset(variant.train.rows, variant.train.rows_seed) | self.reserved()
        avoid = self.evaluated_rows(variant) if self.study.data.leaks == "drop" else []
        return self.prepare(variant.task, tasks.find_task(variant.task, self.folder).train_split, select, avoid)

    def evaluated_rows(self, variant: Variant) -> list[Step]:
        return _unique(self.evaluation_rows(c.evaluation) for c in self.cells if c.variant.name == variant.name)

    def check(self, variant: Variant) -> Step:
        """The leak check between a variant's training rows and everything it is evaluated on."""
        rows = self.training_rows(variant)
        evaluated = {f"evaluation_{i}": step for i, step in enumerate(self.evaluated_rows(variant))}
        return Step(
            kind="check",
            version=VERSIONS["check"],
            slug=f"leaks-{rows.slug}",
            entry="tunelab.study.steps.check:run",
            settings={"policy": self.study.data.leaks},
            inputs={"train": rows, **evaluated},
            circumstance={"tasks": self.task_names(evaluated | {"train": rows}), "folder": str(self.folder)},
        )

    def train(self, variant: Variant) -> Step:
        train, fmt = variant.train, variant.format
        assert train is not None
        assert fmt is not None
        model, blocked = self.model(variant.model)
        precision = self.precision(train.precision)
        shots = self.shots(variant.task, fmt)
        return Step(
            kind="train",
            version=VERSIONS["train"],
            slug=_slug(variant.name),
            entry="tunelab.study.steps.train:run",
            settings={
                "model": model["identity"],
                "recipe": train.identity(precision),
                "format": fmt.identity(),
                "task": self.task_identity(variant.task),
                "seed": variant.seed,
            },
            inputs={"rows": self.training_rows(variant), **({"shots": shots} if shots else {})},
            circumstance={"model": model, "task": variant.task, **self.hardware()},
            after=(self.check(variant),),
            blocked=blocked,
        )

    def generate(self, cell: Cell) -> Step:
        variant, evaluation = cell.variant, cell.evaluation
        model, blocked = self.model(variant.model)
        task = tasks.find_task(evaluation.task, self.folder)
        shots = self.shots(evaluation.task, evaluation.format)
        trained = {"trained": self.train(variant)} if variant.train else {}
        decoding = evaluation.settings.model_dump(include={"temperature", "top_p", "samples", "seed"})
        decoding["max_new_tokens"] = evaluation.settings.max_new_tokens or task.max_new_tokens
        return Step(
            kind="generate",
            version=VERSIONS["generate"],
            slug=_slug(f"{variant.name}-{evaluation.name}"),
            entry="tunelab.study.steps.generate:run",
            settings={
                "model": model["identity"],
                "format": evaluation.format.identity(),
                "task": self.task_identity(evaluation.task),
                "decoding": decoding,
                "backend": "transformers",
                "precision": self.precision(evaluation.settings.precision),
            },
            inputs={"rows": self.evaluation_rows(evaluation), **trained, **({"shots": shots} if shots else {})},
            circumstance={"model": model, "task": evaluation.task, **self.hardware()},
            blocked=blocked,
        )

    def score(self, cell: Cell) -> Step:
        task = cell.evaluation.task
        return Step(
            kind="score",
            version=VERSIONS["score"],
            slug=_slug(f"{cell.variant.name}-{cell.evaluation.name}"),
            entry="tunelab.study.steps.score:run",
            settings={"task": self.task_identity(task)},
            inputs={"rows": self.evaluation_rows(cell.evaluation), "outputs": self.generate(cell)},
            circumstance={"task": task, "folder": str(self.folder)},
        )

    def compare(self, scores: Mapping[str, Step]) -> Step:
        return Step(
            kind="compare",
            version=VERSIONS["compare"],
            slug=_slug(self.study.study),
            entry="tunelab.study.steps.compare:run",
            settings={"cells": [describe_cell(c) for c in self.cells], "alpha": self.study.alpha},
            inputs=dict(scores),
            tolerant=True,
        )

    def report(
        self, compare: Step, scores: Mapping[str, Step], train: Mapping[str, Step], checks: Sequence[Step]
    ) -> Step:
        """The report reads the records and files of everything that was done."""
        return Step(
            kind="report",
            version=VERSIONS["report"],
            slug=_slug(self.study.study),
            entry="tunelab.report.build:run",
            settings={"study": self.study.model_dump(mode="json", exclude={"hardware"})},
            inputs={
                "compare": compare,
                **{f"score/{name}": step for name, step in scores.items()},
                **{f"generate/{name}": step.inputs["outputs"] for name, step in scores.items()},
                **{f"train/{name}": step for name, step in train.items()},
                **{f"check/{i}": step for i, step in enumerate(checks)},
                **{f"prepare/{step.slug}-{step.fingerprint[:8]}": step for step in self.prepared(scores, train)},
            },
            tolerant=True,
        )

    def prepared(self, scores: Mapping[str, Step], train: Mapping[str, Step]) -> list[Step]:
        """Every prepare step behind the scores and the trained variants."""
        return [step for step in topological([*scores.values(), *train.values()]) if step.kind == "prepare"]

    def model(self, name: str) -> tuple[dict[str, Any], str | None]:
        """Return a model's circumstance, and why it cannot be used, if it cannot."""
        if name not in self._models:
            try:
                self._models[name] = resolve(name)
            except ModelError as error:
                self._models[name] = str(error)
        ref = self._models[name]
        if isinstance(ref, str):
            return {"name": name, "location": name, "revision": None, "identity": {"unresolved": name}}, ref
        return {"name": name, "location": ref.location, "revision": ref.revision, "identity": ref.identity}, None

    def task_identity(self, name: str) -> dict[str, Any]:
        return tasks.identity(tasks.find_task(name, self.folder), name, self.folder)

    def task_names(self, rows: Mapping[str, Step]) -> dict[str, str]:
        return {name: step.circumstance["task"] for name, step in rows.items()}

    def hardware(self) -> dict[str, Any]:
        settings = self.study.hardware.model_dump(mode="json")
        return {"hardware": settings | {"device": self.device}, "folder": str(self.folder)}


def choose_source(task: tasks.Task, data: Data, folder: Path, smoke: bool = False) -> Source | None:
    """Return where a task's rows come from; None for a task that generates them."""
    if data.files:
        return FileSource({split: folder / path for split, path in data.files.items()})
    if task.dataset is None:
        return None
    if data.source in ("auto", "mirror") and (mirror := mirror_source(task.dataset)):
        return mirror
    if data.source == "mirror":
        raise DataError(
            f"data.source: mirror, but TUNELAB_DATA does not hold {task.dataset.repo}; set it to the mirror's folder"
        )
    if data.source == "builtin" or (smoke and data.source == "auto"):
        return BuiltinSource(task.name)
    return HubSource(task.dataset)


def describe_cell(cell: Cell) -> dict[str, Any]:
    """Return what the comparison needs to know of a cell, as plain JSON: its factors and its baseline."""
    train = cell.variant.train
    return {
        "cell": cell.name,
        "variant": cell.variant.name,
        "evaluation": cell.evaluation.name,
        "task": cell.evaluation.task,
        "baseline": f"{cell.baseline.name}/{cell.evaluation.name}" if cell.baseline else None,
        "matched": cell.matched,
        "at_least": cell.evaluation.settings.at_least,
        "seed": cell.variant.seed if train else None,
        "others": _other_settings(cell),
        "factors": {
            "model": cell.variant.model,
            "method": train.method if train else None,
            "adaptation": train.adaptation if train else None,
            "loss": train.loss if train else None,
            "train_format": train.format if train else None,
            "eval_format": cell.evaluation.settings.format,
        },
    }


def _other_settings(cell: Cell) -> dict[str, Any]:
    """Return the settings that are no factor and must be equal where all else is said to be equal."""
    asked = cell.evaluation.settings.model_dump(mode="json", exclude={"format", "at_least"})
    if cell.variant.train is None:
        return {"evaluation": asked}
    named = {"method", "adaptation", "lora", "loss", "format", "model", "task"}
    recipe = cell.variant.train.model_dump(mode="json", exclude=named)
    return {"evaluation": asked, "recipe": recipe, "task": cell.variant.task}


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name)[:60]


def _unique(steps: Any) -> list[Step]:
    return list({step.fingerprint: step for step in steps}.values())
