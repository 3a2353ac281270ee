"""Supervised rows: token ids and labels, made once by the renderer, with every loss of data counted.

Rows are never cut: a row that is too long is left out, and a study that would leave out more than it allows is
refused with the length that would fit. A row without a supervised token teaches nothing, and is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

from tunelab.data.mixtures import TASK
from tunelab.data.sample import Sample
from tunelab.errors import DataError
from tunelab.formats.encoder_decoder import EncoderDecoderRenderer
from tunelab.formats.renderer import Example, Renderer
from tunelab.tasks.task import Task

Row = TypeVar("Row")

IGNORED = -100
"""The label that PyTorch's cross entropy leaves out."""


@dataclass(frozen=True)
class SupervisedRows:
    """``rows`` hold ``input_ids`` and ``labels``, ``ids`` the samples that they were made of.

    The two are equally long, but for an encoder-decoder model, where one is read and the other is written.
    ``receipt`` counts what went in and what did not.
    """

    rows: list[dict[str, list[int]]]
    ids: list[str]
    receipt: dict[str, Any]
    preview: str


def supervised_rows(
    samples: Sequence[Sample], task: Task, renderer: Renderer, loss: str, max_length: int, max_too_long: float
) -> SupervisedRows:
    """Render training samples. Raises DataError when rows teach nothing or too many do not fit."""
    rendered = [(s, renderer.example(task.messages(s), task.target(s))) for s in samples]
    kept = keep_fitting(rendered, [len(e.ids) for _, e in rendered], max_length, max_too_long)
    fitting = [example for _, example in kept]
    rows = [{"input_ids": e.ids, "labels": labels(e, loss)} for e in fitting]
    supervised = [sum(label != IGNORED for label in row["labels"]) for row in rows]
    if min(supervised) == 0:
        raise DataError("training rows: a row has no supervised token, expected at least its answer; check the targets")
    receipt = _receipt([s for s, _ in kept], len(rendered), [len(e.ids) for e in fitting], supervised)
    receipt["longest"] = max(len(e.ids) for e in fitting)
    ids = [sample.id for sample, _ in kept]
    return SupervisedRows(rows, ids, receipt, marked(fitting[0].ids, rows[0]["labels"], renderer))


def paired_rows(
    samples: Sequence[Sample], task: Task, renderer: EncoderDecoderRenderer, max_length: int, max_too_long: float
) -> SupervisedRows:
    """Render training samples: ``input_ids`` for the encoder, ``labels`` for the decoder, each of its own length.

    Raises DataError when too many rows have a side of more than ``max_length`` tokens.
    """
    rendered = [(s, renderer.sides(task.messages(s), task.target(s))) for s in samples]
    kept = keep_fitting(rendered, [max(map(len, sides)) for _, sides in rendered], max_length, max_too_long)
    sides = [found for _, found in kept]
    read, learnt = [len(prompt) for prompt, _ in sides], [len(target) for _, target in sides]
    tokens = [a + b for a, b in zip(read, learnt, strict=True)]
    receipt = _receipt([s for s, _ in kept], len(rendered), tokens, learnt)
    receipt |= {"longest": max(*read, *learnt), "longest_target": max(learnt)}
    prompt, target = sides[0]
    shown = marked([*prompt, *target], [*[IGNORED] * len(prompt), *target], renderer)
    rows = [{"input_ids": prompt, "labels": target} for prompt, target in sides]
    return SupervisedRows(rows, [sample.id for sample, _ in kept], receipt, shown)


def _receipt(
    samples: Sequence[Sample], rendered: int, tokens: Sequence[int], supervised: Sequence[int]
) -> dict[str, Any]:
    return {
        "rows": len(samples),
        "too_long": rendered - len(samples),
        "tokens": sum(tokens),
        "supervised_tokens": sum(supervised),
        **by_source(samples, tokens, supervised),
    }


def by_source(samples: Sequence[Sample], tokens: Sequence[int], supervised: Sequence[int]) -> dict[str, Any]:
    """Count rows and tokens by the task that each row came from, where rows are of several."""
    sources: dict[str, dict[str, int]] = {}
    for sample, length, learnt in zip(samples, tokens, supervised, strict=True):
        if TASK in sample.metadata:
            found = sources.setdefault(sample.metadata[TASK], {"rows": 0, "tokens": 0, "supervised_tokens": 0})
            found["rows"] += 1
            found["tokens"] += length
            found["supervised_tokens"] += learnt
    return {"sources": sources} if sources else {}


def keep_fitting(
    rows: Sequence[Row], lengths: Sequence[int], max_length: int, max_too_long: float, what: str = "training rows"
) -> list[Row]:
    """Return the rows of at most ``max_length`` tokens. Raises DataError when that leaves out too many, or all."""
    fitting = [row for row, length in zip(rows, lengths, strict=True) if length <= max_length]
    too_long = len(rows) - len(fitting)
    if too_long > max_too_long * len(rows) or not fitting:
        raise DataError(
            f"{what}: {too_long} of {len(rows)} are longer than max_length = {max_length} tokens, expected "
            f"at most {max_too_long:.0%}; set max_length to {max(lengths)} to keep all, or raise max_too_long"
        )
    return fitting


def labels(example: Example, loss: str) -> list[int]:
    """Return the ids that are learnt and ``IGNORED`` elsewhere."""
    if loss == "all":
        return list(example.ids)
    return [token if kept else IGNORED for token, kept in zip(example.ids, example.mask, strict=True)]


def marked(ids: Sequence[int], row_labels: Sequence[int], renderer: Renderer) -> str:
    """Return decoded ids with what is learnt of them in ⟦brackets⟧."""
    return "".join(f"⟦{text}⟧" if learnt else text for text, learnt in runs(ids, row_labels, renderer))


def runs(ids: Sequence[int], row_labels: Sequence[int], renderer: Renderer) -> list[tuple[str, bool]]:
    """Return the decoded runs of tokens that are all learnt or all not, with which it is."""
    pairs = groupby(zip(ids, row_labels, strict=True), key=lambda pair: pair[1] != IGNORED)
    return [(str(renderer.tokenizer.decode([token for token, _ in run])), learnt) for learnt, run in pairs]
