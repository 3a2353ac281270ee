"""From cells to steps: the smallest plan, because equal work has equal fingerprints.

Nothing here looks for duplicates. A variant evaluated in two formats is one train step and two generate steps
because both cells ask for a train step with the same identity. What identity means is written here for train
and score, and beside it, in the files whose names end in ``_plan``, for the other kinds of steps; raise a kind's
version when its function starts to compute differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tunelab.engine.plan import topological
from tunelab.engine.step import Step
from tunelab.scoring.code.sandbox import refusal
from tunelab.study import contrasts, thresholds
from tunelab.study.adopt_plan import adopt_step
from tunelab.study.answering import answerable, way_of
from tunelab.study.answers_plan import AnswersPlan
from tunelab.study.cells import Cell, Variant, cells, plain_name
from tunelab.study.closing_plan import compare_step, report_step, slug
from tunelab.study.judges_plan import JudgesPlan
from tunelab.study.kinds import refuse_unlike
from tunelab.study.machine import Machine
from tunelab.study.made_splits import refuse_unknown_tasks
from tunelab.study.pairs_plan import draws, pairs_step
from tunelab.study.points import whole
from tunelab.study.rows_plan import RowsPlan
from tunelab.study.search_plan import candidates, select_step, validations
from tunelab.study.settling import Settled, settle, without_sandbox
from tunelab.study.spec import Study
from tunelab.study.together_plan import together
from tunelab.study.tree import leaves, nodes
from tunelab.tasks import find
from tunelab.tasks.identity import scorer_identity
from tunelab.tasks.mixed import JOINT
from tunelab.tasks.sandboxed import runs_code
from tunelab.tasks.task import Task
from tunelab.training.rewards import length_buffer, refuse_unjudged_tasks

SUPERVISED = ("sft", "seq2seq")
"""Methods that draw no text while they train."""
VERSIONS = {"train": 3, "score": 3}


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
    left_out: Mapping[str, str]
    """Cells that their variant cannot answer, with the reason."""
    settled: Settled

    def restricted(self, kept: Sequence[Cell]) -> Compiled:
        """Return the plan of some of the cells."""
        return _Compiler(self.study, list(kept), self.folder, self.left_out, self.settled).compile()

    def without_work(self, held: Mapping[str, Step], reasons: Mapping[str, str]) -> Compiled:
        """Return the plan in which only what is ``held`` feeds comparison and report; the rest are holes.

        Both are by fingerprint, as ``plan.settled`` returns them.
        """
        compare = self.compare.over(held, reasons)
        report = self.report.over({**held, self.compare.fingerprint: compare}, reasons)
        return replace(self, compare=compare, report=report)


def compile_study(points: Sequence[tuple[str, Study]], folder: Path | None = None) -> Compiled:
    """Return the plan of a study. ``folder`` is where relative paths in it start. Raises UserError."""
    start = folder or Path.cwd()
    study, (kept, left_out) = whole(points), answerable(cells(points), start)
    thresholds.refuse_unknown(study, kept, start)
    refuse_unknown_tasks(study.data, _tasks(kept), start)
    contrasts.refuse_impossible(study, kept, left_out)
    left_out |= _unevaluated(points, kept)
    kept, settled = settle(kept, _machine(study, start), study.base_weights)
    settled = without_sandbox(settled, study.code.sandbox, _tasks(kept), start)
    return _Compiler(study, kept, start, left_out, settled).compile()


def _machine(study: Study, folder: Path) -> Machine:
    return Machine(study.hardware, folder, study.stand_ins, study.model_names)


def _tasks(kept: Sequence[Cell]) -> set[str]:
    """Return the names of all tasks that are trained on or scored."""
    named = {name for cell in kept for name in (*cell.variant.task.split(JOINT), cell.evaluation.task)}
    return named - {""}


def _unevaluated(points: Sequence[tuple[str, Study]], kept: Sequence[Cell]) -> dict[str, str]:
    """Name the variants that no evaluation is of: they are neither trained nor asked."""
    found = {plain_name(cell.variant.name) for cell in kept}
    declared = dict.fromkeys(name for _, study in points for name in (*study.models, *study.train, *study.outputs))
    return {name: "no evaluation is of it" for name in declared if name not in found}


@dataclass
class _Compiler:
    study: Study
    cells: list[Cell]
    folder: Path
    left_out: Mapping[str, str]
    settled: Settled

    def compile(self) -> Compiled:
        for task in leaves(self.study.tasks):
            find.find_task(task, self.folder)
        scores = {cell.name: self.score(cell) for cell in self.cells}
        variants = {cell.variant.name: cell.variant for cell in self.cells}
        train = {name: self.train(variant) for name, variant in variants.items() if variant.train}
        work = topological([*scores.values(), *train.values()])
        checks = [step for step in work if step.kind == "check"]
        compare = compare_step(self.study, self.cells, scores, self.folder)
        report = report_step(self.study, self.left_out, self.settled.notices, compare, scores, train, checks)
        found = (train, scores, checks, compare, report)
        return Compiled(self.study, self.cells, *found, self.folder, self.left_out, self.settled)

    @cached_property
    def rows(self) -> RowsPlan:
        return RowsPlan(self.study, self.cells, self.folder, self.machine)

    @cached_property
    def machine(self) -> Machine:
        return _machine(self.study, self.folder)

    @cached_property
    def answers(self) -> AnswersPlan:
        return AnswersPlan(self.study, self.rows, self.machine, self.settled.untouched, self.folder)

    @cached_property
    def judges(self) -> JudgesPlan:
        return JudgesPlan(self.study, self.machine, self.folder)

    def train(self, variant: Variant) -> Step:
        """The step that makes a variant: one training, the choice among candidates, or weights from elsewhere."""
        assert variant.train is not None
        self.refuse_unlike(variant.name, variant.train.method, variant.model)
        if variant.train.from_checkpoint:
            return adopt_step(variant, self.machine, slug(variant.name))
        return self.trained(variant) if variant.train.searched is None else self.searched(variant)

    def refuse_unlike(self, name: str, method: str, model: str) -> None:
        if (kind := self.machine.kind(model)) is not None:
            refuse_unlike(f"train.{name.partition('#')[0]}.method", method, model, kind)

    def searched(self, variant: Variant) -> Step:
        """Every candidate is trained and scored on held-out rows of each of its tasks."""
        trained: dict[str, Step] = {}
        scores: dict[str, dict[str, Step]] = {}
        for label, candidate in candidates(variant).items():
            trained[label] = self.trained(candidate)
            scores[label] = {}
            for task, cell in validations(candidate).items():
                rows = self.rows.held_out(variant)[task]
                cell = replace(cell, by=way_of(cell, self.folder))
                scores[label][task] = self.score_outputs(cell, rows, self.outputs(cell, rows, ()))
        return select_step(variant, trained, scores, slug(variant.name))

    def trained(self, variant: Variant) -> Step:
        train, fmt = variant.train, variant.format
        assert train is not None
        assert fmt is not None
        model, blocked = self.machine.model(variant.model)
        task = find.find_task(variant.task, self.folder)
        precision = self.machine.precision(train.precision)
        rows, shots = self.rows.training_rows(variant), self.rows.shots(variant.task, fmt)
        checks = tuple(self.rows.checks(variant))
        judges, judged_by, unjudged = self.rewarding(variant)
        pairs = {"pairs": self.pairs(variant, rows, checks)} if train.method == "dpo" else {}
        settings = {
            "model": model["identity"],
            "recipe": train.identity(precision),
            "format": fmt.training_identity() if train.method in SUPERVISED else fmt.identity(),
            "seed": variant.seed,
            "micro_batch_size": self.machine.micro_batch_that_matters(train, precision),
            **self.machine.packing_that_matters(train, precision),
            **self.reward(variant, judges),
            **self.balanced(variant),
            **self.machine.rollouts(train),
        }
        inputs = {"rows": rows, **pairs, **({"shots": shots} if shots else {})}
        at_once = together(train, precision, self.study.hardware, settings, inputs)
        return Step(
            kind="train",
            version=VERSIONS["train"],
            slug=slug(variant.name),
            entry="tunelab.study.steps.train:run",
            settings=settings,
            inputs=inputs,
            circumstance={
                "model": model,
                "task": variant.task,
                **({"together": at_once} if isinstance(at_once, str) else {}),
                **self.fallback(variant),
                **self.machine.hardware(),
                **(self.sandbox(task) if train.method == "grpo" else {}),
                **({"judges": judged_by} if judged_by else {}),
            },
            after=checks,
            together=None if isinstance(at_once, str) else at_once,
            blocked=blocked
            or self.machine.without_qlora(train)
            or (self.unsafe(task) if train.method == "grpo" else None)
            or unjudged,
        )

    def rewarding(self, variant: Variant) -> tuple[dict[str, Any], dict[str, Any], str | None]:
        """The judges that reward a variant: identities, circumstances, and why one cannot be asked."""
        assert variant.train is not None
        if variant.train.method != "grpo":
            return {}, {}, None
        refuse_unjudged_tasks(variant.train.grpo.rewards, variant.task.split(JOINT))
        return self.judges.rewards(variant.train.grpo.rewards)

    def balanced(self, variant: Variant) -> dict[str, Any]:
        """The group of every task whose prompts take turns in a variant's batches, where they do."""
        assert variant.train is not None
        tasks = variant.task.split(JOINT)
        if variant.train.method != "grpo" or variant.train.grpo.batches == "shuffled" or len(tasks) == 1:
            return {}
        groups = {task: path[0] for path, below in nodes(self.study.tasks) if len(path) == 1 for task in below}
        return {"balanced": {task: groups.get(task, task) for task in tasks}}

    def fallback(self, variant: Variant) -> dict[str, str]:
        why = self.settled.notices.get(variant.name)
        return {"fallback": why} if why else {}

    def reward(self, variant: Variant, judges: Mapping[str, Any]) -> dict[str, Any]:
        """What rollouts earn and where they end, for the method that learns from it."""
        assert variant.train is not None
        if variant.train.method != "grpo":
            return {}
        task = find.find_task(variant.task, self.folder)
        members = [find.find_task(name, self.folder) for name in variant.task.split(JOINT)]
        budgets = [variant.train.grpo.max_new_tokens or member.max_new_tokens for member in members]
        length_buffer(variant.train.grpo.rewards, min(budgets))  # refuses one that does not fit, before anything runs
        ends = [{"stop": list(member.stop), "max_new_tokens": n} for member, n in zip(members, budgets, strict=True)]
        ended = ends[0] if len(ends) == 1 else {"members": ends}
        judged = {"judges": judges} if judges else {}
        return {"reward": {"scorer": scorer_identity(task, variant.task, self.folder), **ended, **judged}}

    def pairs(self, variant: Variant, rows: Step, checks: tuple[Step, ...]) -> Step:
        """What dpo prefers; the leak checks come before the base is asked."""
        assert variant.train is not None
        circumstance = {"task": variant.task, "folder": str(self.folder)}
        if variant.train.dpo.pairs == "dataset":
            return pairs_step(variant, rows, None, circumstance)
        cell = draws(variant)
        scores = self.score_outputs(cell, rows, self.outputs(cell, rows, checks))
        return pairs_step(variant, rows, scores, circumstance)

    def generate(self, cell: Cell) -> Step:
        rows = self.rows.evaluation_rows(cell.evaluation)
        shots = self.rows.shots(cell.evaluation.task, cell.evaluation.format)
        return self.outputs(cell, rows, (self.rows.check_shots(shots, [rows]),) if shots else ())

    def outputs(self, cell: Cell, rows: Step, after: tuple[Step, ...]) -> Step:
        """A cell's variant answers ``rows``."""
        trained = self.train(cell.variant) if cell.variant.train else None
        return self.answers.outputs(cell, rows, trained, after)

    def score(self, cell: Cell) -> Step:
        return self.score_outputs(cell, self.rows.evaluation_rows(cell.evaluation), self.generate(cell))

    def score_outputs(self, cell: Cell, rows: Step, outputs: Step) -> Step:
        task = cell.evaluation.task
        found = find.find_task(task, self.folder)
        score = Step(
            kind="score",
            version=VERSIONS["score"],
            slug=slug(f"{cell.variant.name}-{cell.evaluation.name}"),
            entry="tunelab.study.steps.score:run",
            settings={
                "scorer": scorer_identity(found, task, self.folder),
                **({"by": cell.by} if cell.by != "generate" else {}),
            },
            inputs={"rows": rows, "outputs": outputs},
            circumstance={"task": task, "folder": str(self.folder), **self.sandbox(found)},
            blocked=self.unsafe(found),
        )
        return self.judges.over_verdicts(score, cell)

    def sandbox(self, task: Task) -> dict[str, str]:
        """How a task's code is kept in: no part of what comes out, and said where the code is run."""
        return {"sandbox": self.study.code.sandbox} if runs_code(task) else {}

    def unsafe(self, task: Task) -> str | None:
        """Why a task's code cannot be run here."""
        return refusal(self.study.code.sandbox) if runs_code(task) else None
