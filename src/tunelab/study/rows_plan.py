"""The steps that make rows: subsets, worked examples, and the checks that keep them apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunelab.data.sources import source_identity
from tunelab.engine.step import Step
from tunelab.errors import DataError, StudyError
from tunelab.formats.format import Format
from tunelab.study.cells import Cell, Evaluation, Variant
from tunelab.study.entries import LrSearch, Size
from tunelab.study.smoke import QUESTION
from tunelab.study.source import choose_source
from tunelab.study.spec import Study
from tunelab.study.tree import weights
from tunelab.tasks import task as tasks
from tunelab.tasks.identity import rows_identity
from tunelab.tasks.mixed import JOINT

VERSIONS = {"prepare": 2, "mix": 1, "check": 1}


@dataclass
class RowsPlan:
    """Makes the prepare and check steps of a study."""

    study: Study
    cells: Sequence[Cell]
    folder: Path

    def prepare(self, task: str, split: str, select: Mapping[str, Any], avoid: Sequence[Step] = ()) -> Step:
        """Rows of a split: a subset, or the worked examples of a format."""
        found = tasks.find_task(task, self.folder)
        settings: dict[str, Any] = {"task": rows_identity(found, task, self.folder), "split": split, **select}
        if self.study.smoke:
            settings["longest"] = QUESTION
        blocked = None
        try:
            source = choose_source(found, self.study.data, self.folder, self.study.smoke)
            if found.dataset is None or source is None:
                settings["source"] = None
            else:
                settings["source"] = source_identity(found.dataset, source, split)
        except DataError as error:
            settings["source"], blocked = None, str(error)
        avoided = {f"avoid_{i}": step for i, step in enumerate(avoid)}
        return Step(
            kind="prepare",
            version=VERSIONS["prepare"],
            slug=f"{found.name}-{split}" + ("-shots" if "shots" in select else ""),
            entry="tunelab.study.steps.prepare:run",
            settings=settings,
            inputs=avoided,
            circumstance={
                "task": task,
                "tasks": self.task_names(avoided),
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
        return self.prepare(evaluation.task, split, self.subset(settings.size, settings.rows_seed) | reserved)

    def reserved(self) -> dict[str, Any]:
        """Leave the worked examples of every format out of the rows, so that no prompt holds its own question."""
        shots = sorted({(f.few_shots.seed, f.few_shots.k) for f in self.study.formats.values() if f.few_shots.k})
        return {"reserve": [{"seed": seed, "k": k} for seed, k in shots]}

    def held_out(self, variant: Variant) -> dict[str, Step]:
        """Rows of each task's training split on which a variant's learning rate is chosen; none without a search."""
        search = self.search(variant)
        return {task: self.held_out_of(task, search, variant) for task in variant.task.split(JOINT)} if search else {}

    def held_out_of(self, task: str, search: LrSearch, variant: Variant) -> Step:
        """What a variant is scored on may no more choose than train: it is dropped here too where the study says so."""
        split = tasks.find_task(task, self.folder).train_split
        avoid = self.scored_rows(variant) if self.study.data.leaks == "drop" else []
        return self.prepare(task, split, self.subset(search.rows, search.seed) | self.reserved(), avoid)

    def search(self, variant: Variant) -> LrSearch | None:
        """How a variant's learning rate is chosen; its candidates have the variant's name."""
        named = [cell.variant.train for cell in self.cells if cell.variant.name == variant.name]
        return next((train.lr_search for train in named if train and train.lr_search), None)

    def subset(self, rows: Size, seed: int) -> dict[str, Any]:
        return {"rows": rows, "seed": seed, **({"at_most": True} if self.study.smoke else {})}

    def shots(self, task: str, fmt: Format) -> Step | None:
        """Worked examples of a format, drawn from the training split."""
        if fmt.few_shots.k == 0:
            return None
        if JOINT in task:
            raise StudyError(
                f"few_shots: got {fmt.few_shots.k} for the mixture {task}, expected 0: tasks differ in them"
            )
        split = tasks.find_task(task, self.folder).train_split
        return self.prepare(task, split, {"shots": {"k": fmt.few_shots.k, "seed": fmt.few_shots.seed}})

    def training_rows(self, variant: Variant) -> Step:
        """The rows of a variant's task, or of several tasks, mixed."""
        assert variant.train is not None
        sources = self.training_sources(variant)
        if len(sources) == 1:
            return next(iter(sources.values()))
        mixture = variant.train.mixture
        return Step(
            kind="mix",
            version=VERSIONS["mix"],
            slug="-".join(step.slug for step in sources.values())[:60],
            entry="tunelab.study.steps.mix:run",
            settings=mixture.identity(weights(mixture, list(sources), self.study.tasks)),
            inputs=sources,
            circumstance={"task": variant.task},
        )

    def training_sources(self, variant: Variant) -> dict[str, Step]:
        """The prepared training rows of each of a variant's tasks, by name."""
        return {task: self.training_source(variant, task) for task in variant.task.split(JOINT)}

    def training_source(self, variant: Variant, task: str) -> Step:
        assert variant.train is not None
        select = self.subset(variant.train.rows, variant.train.rows_seed) | self.reserved()
        if search := self.search(variant):
            select["held_out"] = {"seed": search.seed, "rows": search.rows}
        avoid = self.evaluated_rows(variant) if self.study.data.leaks == "drop" else []
        return self.prepare(task, tasks.find_task(task, self.folder).train_split, select, avoid)

    def evaluated_rows(self, variant: Variant) -> list[Step]:
        """The rows that a variant is scored on, or by which its learning rate is chosen."""
        return unique([*self.scored_rows(variant), *self.held_out(variant).values()])

    def scored_rows(self, variant: Variant) -> list[Step]:
        """The rows of a variant's evaluations."""
        return unique(self.evaluation_rows(c.evaluation) for c in self.cells if c.variant.name == variant.name)

    def checks(self, variant: Variant) -> list[Step]:
        """The leak checks before a training: of its rows, of what chooses its learning rate, of its worked examples."""
        assert variant.format is not None
        evaluated, held = self.evaluated_rows(variant), [*self.held_out(variant).values()]
        shots = self.shots(variant.task, variant.format)
        found = [self.check([*self.training_sources(variant).values()], evaluated)]
        found += [self.check(held, self.scored_rows(variant))] if held else []
        return found + ([self.check_shots(shots, evaluated)] if shots else [])

    def check_shots(self, shots: Step, evaluated: Sequence[Step]) -> Step:
        """Worked examples are never dropped, so a scored one is refused unless the study only wants a report."""
        policy = "report" if self.study.data.leaks == "report" else "refuse"
        return self.check([shots], evaluated, policy)

    def check(self, seen: Sequence[Step], evaluated: Sequence[Step], policy: str | None = None) -> Step:
        """The leak check between rows that a model sees (training, worked examples) and rows it is scored on."""
        inputs = {f"seen_{i}": step for i, step in enumerate(seen)}
        inputs |= {f"evaluation_{i}": step for i, step in enumerate(evaluated)}
        return Step(
            kind="check",
            version=VERSIONS["check"],
            slug=f"leaks-{'-'.join(step.slug for step in seen)}"[:60],
            entry="tunelab.study.steps.check:run",
            settings={"policy": policy or self.study.data.leaks},
            inputs=inputs,
            circumstance={"tasks": self.task_names(inputs), "folder": str(self.folder)},
        )

    def task_names(self, rows: Mapping[str, Step]) -> dict[str, str]:
        return {name: step.circumstance["task"] for name, step in rows.items()}


def unique(steps: Iterable[Step]) -> list[Step]:
    """Return each step once, by fingerprint."""
    return list({step.fingerprint: step for step in steps}.values())
