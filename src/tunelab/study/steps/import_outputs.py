"""Import: outputs that another program wrote become those of a cell, row by row, with its own metrics beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunelab.data.foreign import Foreign, read_foreign
from tunelab.data.sample import Sample
from tunelab.engine.context import StepContext
from tunelab.errors import DataError
from tunelab.files import write_lines
from tunelab.study.imported import match, refuse_gaps
from tunelab.study.steps.answers import OUTPUTS, REASON, UNANSWERED
from tunelab.study.steps.rows import read_samples
from tunelab.tasks.find import find_task
from tunelab.tasks.task import has_choices

THEIRS = "theirs"
"""The field of an output with the other program's metrics of it."""
UNKNOWN = "unknown"
"""How an output ended, where the file does not say."""
FIRST = 3
"""Rows that the record names of each kind that did not fit."""
Row = dict[str, Any]


def run(context: StepContext) -> None:
    """Write ``outputs.jsonl`` and, for rows without an output, ``unanswered.jsonl``; the facts say how they matched."""
    path = Path(context.circumstance["file"])
    samples = read_samples(context.inputs["rows"])
    layout, rows = read_foreign(path)
    _refuse_other_way(rows, context.settings["by"], path)
    found = match(rows, samples)
    refuse_gaps(found, len(samples), context.settings["partial"], str(path))
    outputs = [_output(place, *answer) for place, answer in sorted(found.answers.items(), key=lambda item: item[0])]
    if context.settings["by"] == "choose":
        _refuse_other_choices(context, samples, outputs, path)
    write_lines(context.directory / OUTPUTS, outputs)
    if found.missing:
        write_lines(context.directory / UNANSWERED, [_missing(item, path.name) for item in found.missing])
    context.facts["imported"] = {
        "file": path.name,
        "layout": layout,
        "rows": len(rows),
        "matched": dict(found.ways),
        "unmatched": {"count": len(found.unmatched), "first": list(found.unmatched[:FIRST])},
        "missing": {"count": len(found.missing), "first": list(found.missing[:FIRST])},
        "prompts": sum(row["prompt"] is not None for row in outputs),
        "metrics": sorted({name for row in outputs for name in row.get(THEIRS, {})}),
    }
    context.facts["outputs"] = len(outputs)


def _output(place: tuple[str, int], output: str, row: Foreign) -> Row:
    return {
        "id": place[0],
        "sample": place[1],
        "prompt": row.prompt,
        "output": output,
        "prompt_tokens": None,
        "output_tokens": None,
        "finish": "choice" if row.chosen else row.finish or UNKNOWN,
        **({THEIRS: dict(row.metrics)} if row.metrics else {}),
    }


def _missing(item: str, file: str) -> Row:
    empty = {"prompt": None, "output": "", "prompt_tokens": None, "output_tokens": None, "finish": "none"}
    return {"id": item, "sample": 0, **empty, REASON: f"{file} has no row of it"}


def _refuse_other_way(rows: Sequence[Foreign], by: str, path: Path) -> None:
    """Raise DataError where a text was written and the evaluation chooses, or the other way round."""
    for row in rows:
        if row.chosen and by == "generate":
            raise DataError(f"{path}, {row.where}: got log-likelihoods of choices, expected a text; write by: choose")
        if by == "choose" and not row.chosen and row.id is None:
            raise DataError(f"{path}, {row.where}: got a text, expected log-likelihoods; write by: generate")


def _refuse_other_choices(context: StepContext, samples: Sequence[Sample], outputs: Sequence[Row], path: Path) -> None:
    """Raise DataError for an output that is none of the task's choices: it would be read as a wrong answer."""
    task = find_task(context.circumstance["task"], Path(context.circumstance["folder"]))
    assert has_choices(task)
    by_id = {sample.id: sample for sample in samples}
    for row in outputs:
        choices = task.choices(by_id[row["id"]])
        if row["output"] not in choices:
            raise DataError(f"{path}: {row['id']}: got {row['output']!r}, expected one of {', '.join(choices)}")
