"""The steps that judge: who judges a cell, what makes two judges the same, and what a judge that is nowhere blocks.

A judge is known by what decides about its replies (model, guideline, decoding) and by how many are counted. One whose
model is nowhere blocks its own verdicts only. They are a hole in the score step, whose metrics of that judge have no
value: a headline whose judge is missing is missing, and the rates of the other judges stand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunelab.engine.step import Step
from tunelab.errors import StudyError, nearest
from tunelab.scoring.judges import containing, prompts, refusals
from tunelab.scoring.judges.exchange import SAFETY
from tunelab.scoring.judges.guidelines import read_guideline
from tunelab.scoring.judges.judge import PATIENCE, Judge
from tunelab.study.cells import Cell
from tunelab.study.closing_plan import VERDICTS_OF, slug
from tunelab.study.machine import Machine
from tunelab.study.spec import Study
from tunelab.tasks.find import find_task
from tunelab.tasks.identity import scorer_identity
from tunelab.training.recipe import Rewards

VERSIONS = {"judge": 2}
VERDICTS = "verdicts.jsonl"
RULES = {"refusals": refusals.VERSION, "contains": containing.VERSION}
"""Judges that need no model, with the version of what they decide by."""


@dataclass
class JudgesPlan:
    """Makes the judge steps of a study."""

    study: Study
    machine: Machine
    folder: Path

    def over_verdicts(self, score: Step, cell: Cell) -> Step:
        """Return a score step with the verdicts of its evaluation's judges, if it has any. Raises StudyError."""
        self.refuse_misplaced(cell)
        names = cell.evaluation.settings.judges
        verdicts = {name: self.judge(name, cell, score.inputs["rows"], score.inputs["outputs"]) for name in names}
        if not verdicts:
            return score
        judges = [{"name": name, **step.settings["judge"]} for name, step in verdicts.items()]
        inputs = {f"{VERDICTS_OF}{name}": step for name, step in verdicts.items()}
        return replace(
            score,
            settings={**score.settings, "judges": judges},
            inputs={**score.inputs, **inputs},
            optional=frozenset(inputs),
        )

    def refuse_misplaced(self, cell: Cell) -> None:
        """Raise StudyError for judges of what is no text, and for names that no judge has."""
        where, names = f"evaluate.{cell.evaluation.name}.judges", cell.evaluation.settings.judges
        if names and cell.by != "generate":
            raise StudyError(
                f"{where}: got {', '.join(names)}, but {cell.variant.name} answers by {cell.by}, which leaves nothing "
                "to judge; write by: generate, or remove them"
            )
        for name in names:
            if name not in self.study.judges:
                raise StudyError(f"{where}: unknown judge {name!r}{nearest(name, self.study.judges)}")
        if len(set(names)) < len(names):
            raise StudyError(f"{where}: got {', '.join(names)}, expected every judge once")

    def judge(self, name: str, cell: Cell, rows: Step, outputs: Step) -> Step:
        """One judge reads the outputs of a cell."""
        judge, task = self.study.judges[name], cell.evaluation.task
        asked, circumstance, blocked = self.asked(judge, name)
        return Step(
            kind="judge",
            version=VERSIONS["judge"],
            slug=slug(f"{cell.variant.name}-{cell.evaluation.name}-{name}"),
            entry="tunelab.study.steps.judge:run",
            settings={
                "judge": identity(judge, asked),
                "exchange": scorer_identity(find_task(task, self.folder), task, self.folder),
            },
            inputs={"rows": rows, "outputs": outputs},
            circumstance={**circumstance, "task": task, **self.machine.hardware()},
            blocked=blocked and f"judge {name}: {blocked}",
        )

    def rewards(self, declared: Rewards) -> tuple[dict[str, Any], dict[str, Any], str | None]:
        """Return identity and circumstance of the judges that reward a training, by name, and what blocks one of them.

        Raises StudyError for a name that no judge has.
        """
        known: dict[str, Any] = {}
        circumstances: dict[str, Any] = {}
        reasons: list[str] = []
        for name in declared.judges:
            if name not in self.study.judges:
                raise StudyError(f"grpo.rewards.judges: unknown judge {name!r}{nearest(name, self.study.judges)}")
            judge = self.study.judges[name]
            asked, circumstances[name], blocked = self.asked(judge, name)
            known[name] = identity(judge, asked)
            reasons += [f"judge {name}: {blocked}"] if blocked else []
        return known, circumstances, next(iter(reasons), None)

    def asked(self, judge: Judge, name: str) -> tuple[dict[str, Any], dict[str, Any], str | None]:
        """Return what decides about a judge's replies, how to reach it, and why it cannot be asked, if it cannot."""
        if judge.kind in RULES:
            return {"kind": judge.kind, "patterns": RULES[judge.kind]}, {}, None
        model, circumstance, blocked = self.model(judge)
        decoding = {"max_new_tokens": judge.max_new_tokens, "temperature": judge.temperature}
        found: dict[str, Any] = {"kind": judge.kind, **model, **decoding, "kwargs": judge.kwargs}
        if judge.kind != "guard":
            found["prompts"] = prompts.VERSION
            if judge.asks_for != SAFETY:
                found["words"] = list(judge.asks_for)
            try:
                found["guideline"] = read_guideline(judge.guideline, self.folder).identity
            except StudyError as error:
                raise StudyError(f"judges.{name}.{error}") from None
        return found, circumstance, blocked

    def model(self, judge: Judge) -> tuple[dict[str, Any], dict[str, Any], str | None]:
        """Return identity and circumstance of a judge's model, and why it cannot be used, if it cannot.

        A server is identified by its address and the model's name: nothing else about it can be known.
        """
        assert judge.model is not None
        if judge.kind == "endpoint":
            url, blocked = self.machine.address(judge.endpoint)
            patience = judge.model_dump(include={*PATIENCE})
            return {"model": {"served": judge.model, "url": url}}, {"model": {"name": judge.model, **patience}}, blocked
        model, blocked = self.machine.model(judge.model)
        batch = self.machine.batch_that_matters_to(judge.temperature, "auto")
        identity = {
            "model": model["identity"],
            "precision": self.machine.precision("auto"),
            "batch_size": batch,
            "backend": "transformers",
            **self.machine.engine_that_matters(batch, judge.temperature),
        }
        return identity, {"model": model}, blocked


def identity(judge: Judge, asked: dict[str, Any]) -> dict[str, Any]:
    """Return what decides about a judge's verdicts: its replies, and how many are counted how."""
    return {"asked": asked, "repeats": judge.repeats, "controversial": judge.controversial}
