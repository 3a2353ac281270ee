"""Tokenise: a variant's training rows as ids in one parquet file, with a receipt from the first row to the last token.

``train.parquet`` has a row a sample: ``id``, and ``input_ids`` with ``labels`` (-100 where nothing is learnt; for
seq2seq what the decoder writes), or ``prompt_ids`` for methods that write their own completions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tunelab.data.sample import Sample
from tunelab.engine.context import StepContext
from tunelab.files import write_json
from tunelab.formats.encoder_decoder import EncoderDecoderRenderer
from tunelab.formats.format import Format
from tunelab.formats.renderer import Renderer
from tunelab.models.load import load_renderer
from tunelab.models.spec import ModelRef
from tunelab.study.steps.rows import read_samples, read_shots
from tunelab.study.tokenise_plan import RECEIPT, TOKENS
from tunelab.tasks.find import find_task
from tunelab.tasks.task import Task
from tunelab.training.rows import SupervisedRows, by_source, paired_rows, supervised_rows

IDS = pa.list_(pa.int32())

Columns = dict[str, list[Any]]


def run(context: StepContext) -> None:
    """Write ``train.parquet`` and ``receipt.json``: what was prepared, and what became of it as tokens."""
    settings, circumstance = context.settings, context.circumstance
    task = find_task(circumstance["task"], Path(circumstance["folder"]))
    ref, fmt = ModelRef(**circumstance["model"]), Format(**settings["format"])
    renderer = load_renderer(ref, fmt, read_shots(task, context.inputs, fmt.few_shots.k))
    samples = read_samples(context.inputs["rows"])
    columns, tokenised = CONTENTS[settings["content"]](samples, task, renderer, settings)
    schema = pa.schema([(name, pa.string() if name == "id" else IDS) for name in columns])
    pq.write_table(pa.table(columns, schema=schema), context.directory / TOKENS)
    receipt = {"prepared": context.inputs["rows"].record.facts["receipt"], "tokenised": tokenised}
    write_json(context.directory / RECEIPT, receipt)
    context.facts["receipt"] = receipt


def _supervised(
    samples: Sequence[Sample], task: Task, renderer: Renderer, settings: Any
) -> tuple[Columns, dict[str, Any]]:
    rows = supervised_rows(samples, task, renderer, settings["loss"], settings["max_length"], settings["max_too_long"])
    return {"id": rows.ids, **_columns(rows)}, rows.receipt


def _sides(samples: Sequence[Sample], task: Task, renderer: Renderer, settings: Any) -> tuple[Columns, dict[str, Any]]:
    assert isinstance(renderer, EncoderDecoderRenderer)
    rows = paired_rows(samples, task, renderer, settings["max_length"], settings["max_too_long"])
    return {"id": rows.ids, **_columns(rows)}, rows.receipt


def _columns(rows: SupervisedRows) -> Columns:
    return {name: [row[name] for row in rows.rows] for name in ("input_ids", "labels")}


def _prompts(
    samples: Sequence[Sample], task: Task, renderer: Renderer, settings: Any
) -> tuple[Columns, dict[str, Any]]:
    ids = [renderer.prompt(task.messages(sample)).ids for sample in samples]
    lengths = [len(prompt) for prompt in ids]
    counted = {"rows": len(ids), "too_long": 0, "tokens": sum(lengths), "longest": max(lengths)}
    receipt = counted | by_source(samples, lengths, [0] * len(lengths))
    return {"id": [sample.id for sample in samples], "prompt_ids": ids}, receipt


CONTENTS = {"supervised": _supervised, "sides": _sides, "prompts": _prompts}
