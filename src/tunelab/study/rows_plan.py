"""The steps that make rows: subsets, worked examples, and the checks that keep them apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunelab.data.mixtures import Mixture
from tunelab.data.sources import source_identity
from tunelab.data.splits import Splits
from tunelab.engine.step import Step
from tunelab.errors import DataError, StudyError
from tunelab.files import known_sha256
from tunelab.formats.format import FewShots, Format
from tunelab.study.cells import Cell, Evaluation, Variant
from tunelab.study.entries import HeldOut, Size
from tunelab.study.machine import Machine
from tunelab.study.made_splits import identity, learnt_from, made, test_split, training_split
from tunelab.study.smoke import QUESTION
from tunelab.study.source import choose_source
from tunelab.study.spec import Study
from tunelab.study.steps.check import WORKED_EXAMPLES
from tunelab.study.tree import leaf_weights
from tunelab.study.worked_examples import examples_file, fits, require_examples
from tunelab.tasks import find
from tunelab.tasks.identity import rows_identity
from tunelab.tasks.mixed import JOINT
from tunelab.tasks.task import Task

VERSIONS = {"prepare": 6, "mix": 1, "check": 4}
AVOID, AVOIDING = "avoid", 2
"""Raise it when other rows than before are left out as leaks."""
IN_SMOKE = 0.5
"""Share of a small split that a smoke run may hold out: the rest is to train on."""


@dataclass
class RowsPlan:
    """Makes the prepare and check steps of a study."""

    study: Study
    cells: Sequence[Cell]
    folder: Path
    machine: Machine

    def prepare(
        self,
        task: str,
        split: str,
        select: Mapping[str, Any],
        apart: Mapping[str, Step] | None = None,
        examples: FewShots | None = None,
        file: str | None = None,
    ) -> Step:
        """Rows of a split or ``file``, without those that ask what ``apart`` asks; or a format's worked examples."""
        found = find.find_task(task, self.folder)
        settings: dict[str, Any] = {"task": rows_identity(found, task, self.folder), "split": split, **select}
        if self.study.smoke:
            settings["longest"] = QUESTION
        if any(name.startswith(AVOID) for name in apart or {}):
            settings["avoiding"] = AVOIDING
        path = examples_file(examples, self.folder) if examples else None
        own = made(self.study.data, found, split) if file is None and path is None else None
        counted, uncountable = self.tokenizer(own)
        if own:
            settings["made"] = identity(own, counted and counted["identity"])
        declared = own.of if own else split
        settings["source"], blocked = self.source(found, declared, path, examples.k if examples else 0, file)
        return Step(
            kind="prepare",
            version=VERSIONS["prepare"],
            slug=f"{found.name}-{split}" + ("-shots" if "shots" in select else ""),
            entry="tunelab.study.steps.prepare:run",
            settings=settings,
            inputs=apart or {},
            circumstance={
                "task": task,
                "tasks": self.task_names(apart or {}),
                **({"examples": str(path.resolve())} if path else {}),
                "folder": str(self.folder),
                "data": self.study.data.model_dump(mode="json"),
                "smoke": self.study.smoke,
                **({} if file is None else {"file": file}),
                **({"tokenizer": counted} if counted else {}),
            },
            blocked=blocked or uncountable,
        )

    def tokenizer(self, own: Splits | None) -> tuple[dict[str, Any] | None, str | None]:
        """What counts tokens where rows may be too long, and why it cannot be had, where it cannot."""
        return self.machine.tokenizer(own.longest.tokenizer) if own and own.longest else (None, None)

    def source(self, task: Task, split: str, examples: Path | None, k: int, file: str | None) -> tuple[Any, str | None]:
        """What rows are identified by, or None and why they cannot be had."""
        try:
            if examples:
                require_examples(examples, task, k)
                return {"sha256": known_sha256(examples)}, None
            source = choose_source(task, self.study.data, self.folder, self.study.smoke, file)
            if task.dataset is None or source is None:
                return None, None
            return source_identity(task.dataset, source, split), None
        except DataError as error:
            return None, str(error)

    def evaluation_rows(self, evaluation: Evaluation) -> Step:
        settings, task = evaluation.settings, find.find_task(evaluation.task, self.folder)
        split = settings.split or test_split(self.study.data, task)
        reserved = self.reserved(evaluation.task) if split == learnt_from(self.study.data, task) else {}
        return self.prepare(evaluation.task, split, self.subset(settings.size, settings.rows_seed), reserved)

    def reserved(self, task: str) -> dict[str, Step]:
        """What to leave out of a task's rows as worked examples: no prompt may hold its own question."""
        return numbered("reserved", self.worked_examples(task))

    def worked_examples(self, task: str) -> list[Step]:
        """The worked examples of every format, in an order that does not depend on the formats' names."""
        found = [self.shots(task, fmt) for fmt in self.study.formats.values() if self.is_of(fmt, task)]
        return sorted(unique(step for step in found if step), key=lambda step: step.fingerprint)

    def is_of(self, fmt: Format, task: str) -> bool:
        """Say whether a format's worked examples can be rows of a task; an unreadable file says so when it is used."""
        path = examples_file(fmt.few_shots, self.folder)
        if path is None or fmt.few_shots.k == 0:
            return fmt.few_shots.k > 0
        try:
            return fits(path, find.find_task(task, self.folder))
        except DataError:
            return True

    def held_out(self, variant: Variant) -> dict[str, Step]:
        """Rows of each task's training split on which a variant is chosen; none without a search."""
        search = self.search(variant)
        return {task: self.held_out_of(task, search, variant) for task in variant.task.split(JOINT)} if search else {}

    def held_out_of(self, task: str, search: HeldOut, variant: Variant) -> Step:
        """What a variant is scored on may no more choose than train: it is dropped here too where the study says so."""
        avoid = self.scored_rows(variant) if self.study.data.leaks == "drop" else []
        select = self.subset(search.rows, search.seed, IN_SMOKE)
        return self.learnt(variant, task, select, {**numbered(AVOID, avoid), **self.reserved(task)})

    def learnt(self, variant: Variant, task: str, select: Mapping[str, Any], apart: Mapping[str, Step]) -> Step:
        """Rows that a variant learns from or is chosen by: those of the task's training split, or of its own file."""
        file = variant.train.file if variant.train else None
        split = self.training_split(task) if file is None else find.training_split(task, self.folder)
        return self.prepare(task, split, select, apart, file=file)

    def training_split(self, task: str) -> str:
        return training_split(self.study.data, task, self.folder)

    def search(self, variant: Variant) -> HeldOut | None:
        """How a variant is chosen; its candidates have the variant's name."""
        named = [cell.variant.train for cell in self.cells if cell.variant.name == variant.name]
        return next((train.searched for train in named if train and train.searched), None)

    def subset(self, rows: Size, seed: int, in_smoke: float = 1) -> dict[str, Any]:
        """So many rows by seed; a smoke run is content with a share of what there is."""
        return {"rows": rows, "seed": seed, **({"at_most": in_smoke} if self.study.smoke else {})}

    def shots(self, task: str, fmt: Format) -> Step | None:
        """Worked examples of a format, of its file or drawn from the training split; the format shows the first k."""
        if fmt.few_shots.k == 0:
            return None
        if JOINT in task:
            raise StudyError(
                f"few_shots: got {fmt.few_shots.k} for the mixture {task}, expected 0: tasks differ in them"
            )
        split = self.training_split(task)
        shots = fmt.few_shots
        chosen = {"k": shots.chosen, "seed": shots.seed} if shots.file is None else {}
        return self.prepare(task, split, {"shots": chosen}, examples=shots)

    def training_rows(self, variant: Variant) -> Step:
        """The rows of a variant's task, or of several tasks, mixed."""
        assert variant.train is not None
        sources = self.training_sources(variant)
        if len(sources) == 1:
            return next(iter(sources.values()))
        return Step(
            kind="mix",
            version=VERSIONS["mix"],
            slug="-".join(step.slug for step in sources.values())[:60],
            entry="tunelab.study.steps.mix:run",
            settings=self.mixed(variant.train.mixture, list(sources)),
            inputs=sources,
            circumstance={"task": variant.task},
        )

    def mixed(self, mixture: Mixture, tasks: Sequence[str]) -> dict[str, Any]:
        """What decides about the rows of a mixture, with the weight of each task where it has weights."""
        declared = mixture.weights
        found = leaf_weights(declared, tasks, self.study.tasks, "mixture.weights") if declared else {}
        return mixture.identity(found)

    def training_sources(self, variant: Variant) -> dict[str, Step]:
        """The prepared training rows of each of a variant's tasks, by name."""
        return {task: self.training_source(variant, task) for task in variant.task.split(JOINT)}

    def training_source(self, variant: Variant, task: str) -> Step:
        assert variant.train is not None
        select = self.subset(variant.train.rows, variant.train.rows_seed)
        avoid = self.evaluated_rows(variant) if self.study.data.leaks == "drop" else []
        held = [step for name, step in self.held_out(variant).items() if name == task]
        apart = {**numbered(AVOID, avoid), **self.reserved(task), **numbered("held", held)}
        return self.learnt(variant, task, select, apart)

    def evaluated_rows(self, variant: Variant) -> list[Step]:
        """The rows that a variant is scored on, or by which it is chosen."""
        return unique([*self.scored_rows(variant), *self.held_out(variant).values()])

    def scored_rows(self, variant: Variant) -> list[Step]:
        """The rows of a variant's evaluations."""
        return unique(self.evaluation_rows(c.evaluation) for c in self.cells if c.variant.name == variant.name)

    def checks(self, variant: Variant) -> list[Step]:
        """The leak checks before a training: of its rows, of what it is chosen by, of worked examples in both."""
        assert variant.format is not None
        evaluated, held = self.evaluated_rows(variant), [*self.held_out(variant).values()]
        shots = self.shots(variant.task, variant.format)
        found = [self.check([*self.training_sources(variant).values()], evaluated)]
        found += [self.check(held, self.scored_rows(variant))] if held else []
        found += [self.check_shots(shots, evaluated)] if shots else []
        return found + self.check_training(variant)

    def check_training(self, variant: Variant) -> list[Step]:
        """No worked example of any format is trained on, whatever the study says of leaks."""
        return [
            self.check([source], examples, "refuse", {"of": WORKED_EXAMPLES})
            for task, source in self.training_sources(variant).items()
            if (examples := self.worked_examples(task))
        ]

    def check_shots(self, shots: Step, evaluated: Sequence[Step]) -> Step:
        """Worked examples are never dropped, so a scored one is refused unless the study only wants a report."""
        policy = "report" if self.study.data.leaks == "report" else "refuse"
        return self.check([shots], evaluated, policy)

    def check(
        self,
        seen: Sequence[Step],
        evaluated: Sequence[Step],
        policy: str | None = None,
        about: Mapping[str, str] | None = None,
    ) -> Step:
        """The leak check between rows that a model sees (training, worked examples) and rows it is scored on."""
        inputs = {**numbered("seen", seen), **numbered("evaluation", evaluated)}
        return Step(
            kind="check",
            version=VERSIONS["check"],
            slug=f"leaks-{'-'.join(step.slug for step in seen)}"[:60],
            entry="tunelab.study.steps.check:run",
            settings={"policy": policy or self.study.data.leaks, **(about or {})},
            inputs=inputs,
            circumstance={"tasks": self.task_names(inputs), "folder": str(self.folder)},
        )

    def task_names(self, rows: Mapping[str, Step]) -> dict[str, str]:
        return {name: step.circumstance["task"] for name, step in rows.items()}


def numbered(name: str, steps: Sequence[Step]) -> dict[str, Step]:
    """Return steps as inputs: ``name_0``, ``name_1``."""
    return {f"{name}_{i}": step for i, step in enumerate(steps)}


def unique(steps: Iterable[Step]) -> list[Step]:
    """Return each step once, by fingerprint."""
    return list({step.fingerprint: step for step in steps}.values())
