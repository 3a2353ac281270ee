"""What dpo prefers, as steps: the base answers the training rows, the answers are scored, and pairs are chosen.

The first two are the generate and score steps of every evaluation, asked of the base on training rows: so draws
resume, are scored by the scorer of the evaluation, and are made once for all trainings that share base, rows,
format and decoding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunelab.engine.step import Step
from tunelab.study.cells import Cell, Evaluation, Variant
from tunelab.study.entries import Evaluate

VERSION = 1


def draws(variant: Variant) -> Cell:
    """Return the base under the format and the decoding from which a variant's pairs are drawn."""
    train, fmt = variant.train, variant.format
    assert train is not None
    assert fmt is not None
    decoding = train.dpo.model_dump(include={"samples", "temperature", "top_p", "max_new_tokens", "seed"})
    settings = Evaluate(format=train.format, precision=train.precision, **decoding)
    base = Variant("base", variant.model, None, None, variant.task, 0)
    return Cell(base, Evaluation(f"pairs-{train.format}", settings, fmt, variant.task), None, None)


def pairs_step(variant: Variant, rows: Step, scores: Step | None, circumstance: Mapping[str, Any]) -> Step:
    """Choose pairs from scored draws, or from the rows alone when the data set has them."""
    assert variant.train is not None
    sampled = {"outputs": scores.inputs["outputs"], "scores": scores} if scores else {}
    return Step(
        kind="pairs",
        version=VERSION,
        slug=rows.slug,
        entry="tunelab.study.steps.pairs:run",
        settings={"pairs": variant.train.dpo.pairs},
        inputs={"rows": rows, **sampled},
        circumstance=circumstance,
    )
