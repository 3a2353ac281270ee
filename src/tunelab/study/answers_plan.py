"""The steps in which a cell's variant answers rows: a model that is loaded, or one that a server is asked for.

What decides about answers is their identity: the weights and in how many bits they are loaded, the format, how text is
drawn, and a batch size where it makes rounding count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunelab.engine.step import Step
from tunelab.study.cells import Cell, Variant
from tunelab.study.closing_plan import slug
from tunelab.study.endpoint_model import EndpointModel
from tunelab.study.import_plan import import_step
from tunelab.study.machine import Machine, Untouched
from tunelab.study.rows_plan import RowsPlan
from tunelab.study.spec import Study
from tunelab.tasks import find

VERSION = 2


@dataclass(frozen=True)
class AnswersPlan:
    """Makes the generate steps of a study."""

    study: Study
    rows: RowsPlan
    machine: Machine
    untouched: Untouched
    """How untouched models are loaded."""
    folder: Path

    def outputs(self, cell: Cell, rows: Step, trained: Step | None, after: tuple[Step, ...]) -> Step:
        """A cell's variant answers ``rows``; ``trained`` is the step that makes it, None for an untouched model."""
        variant, evaluation = cell.variant, cell.evaluation
        if variant.imported is not None and variant.model not in self.study.stand_ins:
            return import_step(cell, rows, self.folder)
        if variant.served is not None and variant.model not in self.study.stand_ins:
            return self.asked_for(cell, variant.served, rows, after)
        model, blocked = self.machine.model(variant.model)
        weights, unloadable = self.four_bits(variant)
        batch = self.machine.batch_that_matters(evaluation.settings, weights)
        engine = self.machine.engine_that_matters(batch, evaluation.settings.temperature)
        return self.generate(
            cell,
            after,
            entry="tunelab.study.steps.generate:run",
            settings={
                "model": model["identity"],
                **self.answering(cell),
                "batch_size": batch,
                **(engine if cell.by != "classifier" else {}),
                "backend": "transformers",
                "precision": self.machine.precision(evaluation.settings.precision),
                **({"checkpoint": list(variant.checkpoint)} if variant.checkpoint else {}),
                **({"weights": weights} if weights and variant.train is None else {}),
            },
            inputs={"rows": rows, **({"trained": trained} if trained else {})},
            circumstance={"model": model, **self.machine.hardware()},
            blocked=blocked or unloadable,
        )

    def asked_for(self, cell: Cell, served: EndpointModel, rows: Step, after: tuple[Step, ...]) -> Step:
        """A model behind a server answers ``rows``; how it computes is the server's business, and unknown."""
        model, circumstance, blocked = self.machine.endpoint(served)
        return self.generate(
            cell,
            after,
            entry="tunelab.study.steps.ask:run",
            settings={"model": model, **self.answering(cell), "backend": "endpoint"},
            inputs={"rows": rows},
            circumstance={"model": circumstance, "folder": str(self.folder)},
            blocked=blocked,
        )

    def generate(
        self,
        cell: Cell,
        after: tuple[Step, ...],
        entry: str,
        settings: Mapping[str, Any],
        inputs: Mapping[str, Step],
        circumstance: Mapping[str, Any],
        blocked: str | None,
    ) -> Step:
        """What the two have in common: a name, the worked examples and the task."""
        evaluation = cell.evaluation
        shots = self.rows.shots(evaluation.task, evaluation.format)
        return Step(
            kind="generate",
            version=VERSION,
            slug=slug(f"{cell.variant.name}-{evaluation.name}"),
            entry=entry,
            settings=settings,
            inputs={**inputs, **({"shots": shots} if shots else {})},
            circumstance={**circumstance, "task": evaluation.task},
            after=after,
            blocked=blocked,
        )

    def four_bits(self, variant: Variant) -> tuple[dict[str, Any] | None, str | None]:
        """The 4-bit weights that a variant is loaded in, if it is, and why it cannot be loaded here."""
        train, untouched = variant.train, self.untouched
        if train is None:
            return untouched.weights, untouched.blocked
        weights = train.qlora.identity() if train.adaptation == "qlora" else None
        return weights, self.machine.without_qlora(train)

    def answering(self, cell: Cell) -> dict[str, Any]:
        """The prompt's format and how an answer comes about: what only ends or draws text does not touch a choice."""
        evaluation = cell.evaluation
        if cell.by != "generate":
            return {"format": evaluation.format.training_identity(), "by": cell.by}
        task = find.find_task(evaluation.task, self.folder)
        decoding = evaluation.settings.decoding()
        decoding["max_new_tokens"] = evaluation.settings.max_new_tokens or task.max_new_tokens
        return {"format": evaluation.format.identity(), "stop": list(task.stop), "decoding": decoding}
