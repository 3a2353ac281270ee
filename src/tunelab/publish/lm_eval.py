"""Results as lm-evaluation-harness writes them: a ``results_*.json`` a variant, and its logged samples.

    OUT/<variant>/results_<date>.json           metrics by ``metric,filter``, configs, versions, counts
    OUT/<variant>/samples_<task>_<date>.jsonl   a row a document, as ``--log_samples`` has it

The shape is that of version 0.4.13. A field that the harness fills and that has no counterpart here (its version, its
git hash, whether a continuation is the greedy one) is left out. Metrics are ours, under our names, under the filter
"none"; a sample without a value of a metric lacks the field. The date is that of the last score, so the same store
gives the same files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tunelab.files import write_json, write_lines
from tunelab.publish.finished import Finished, by_variant, digest, folder_name, task_names

FILTER = "none"
MISSING = "N/A"
"""What the harness writes for a standard error that there is none of."""
Row = dict[str, Any]


def write_lm_eval(cells: Sequence[Finished], out: Path) -> list[Path]:
    """Write a folder for each variant and return the files."""
    made: list[Path] = []
    for variant, found in by_variant(cells).items():
        folder = out / folder_name(variant)
        folder.mkdir(parents=True, exist_ok=True)
        date = max(cell.score.record.finished for cell in found)
        name = datetime.fromisoformat(date).replace(tzinfo=None).isoformat().replace(":", "-")
        samples = {task: logged_samples(cell) for task, cell in zip(task_names(found), found, strict=True)}
        made.append(folder / f"results_{name}.json")
        write_json(made[-1], aggregated(variant, found, samples, date))
        for task, rows in samples.items():
            made.append(folder / f"samples_{task}_{name}.jsonl")
            write_lines(made[-1], rows)
    return made


def aggregated(variant: str, cells: Sequence[Finished], samples: Mapping[str, Sequence[Row]], date: str) -> Row:
    """Return ``results_*.json`` of one variant."""
    named = dict(zip(task_names(cells), cells, strict=True))
    return {
        "results": {name: _metrics(name, cell) for name, cell in named.items()},
        "group_subtasks": {},
        "configs": {name: _config(name, cell) for name, cell in named.items()},
        "versions": {name: cell.task.version for name, cell in named.items()},
        "n-shot": {name: cell.shots for name, cell in named.items() if cell.shots is not None},
        "higher_is_better": {name: dict.fromkeys(cell.metrics(), True) for name, cell in named.items()},
        "n-samples": {name: _counts(cell) for name, cell in named.items()},
        "config": {**_run(cells[0]), **_drawn_alike(cells)},
        "date": datetime.fromisoformat(date).timestamp(),
        **_libraries(cells[0]),
        "task_hashes": {name: hashed for name, rows in samples.items() if (hashed := _task_hash(rows))},
        "model_source": _source(cells[0]),
        "model_name": variant,
        "model_name_sanitized": folder_name(variant),
        **_system(cells[0]),
        "total_evaluation_time_seconds": str(sum(c.outputs.record.seconds + c.score.record.seconds for c in cells)),
        "tunelab": {"study": cells[0].study, "variant": variant, "cells": {n: c.cell.name for n, c in named.items()}},
    }


def _metrics(name: str, cell: Finished) -> Row:
    found: Row = {"name": name, "alias": name, "sample_len": cell.summary["n"]}
    for metric in cell.metrics():
        error = cell.standard_error(metric)
        found[f"{metric},{FILTER}"] = cell.summary["metrics"][metric]["value"]
        found[f"{metric}_stderr,{FILTER}"] = MISSING if error is None else error
    return found


def _config(name: str, cell: Finished) -> Row:
    dataset, kind = cell.task.dataset, "generate_until" if cell.cell.by == "generate" else "multiple_choice"
    return {
        "task": name,
        **({"dataset_path": cell.origin} if cell.origin else {}),
        **({"dataset_name": dataset.config} if dataset and cell.origin else {}),
        "test_split": cell.rows.record.settings["split"],
        "output_type": kind,
        **({"num_fewshot": cell.shots} if cell.shots is not None else {}),
        **({"generation_kwargs": generation_arguments(cell), "repeats": _draws(cell)} if _decoding(cell) else {}),
        "metric_list": [
            {"metric": metric, **({} if cell.is_corpus(metric) else {"aggregation": "mean"}), "higher_is_better": True}
            for metric in cell.metrics()
        ],
        "metadata": {"version": cell.task.version, "scorer_version": cell.task.scorer_version},
    }


def generation_arguments(cell: Finished) -> Row:
    """Return how text was drawn, in the harness's names."""
    decoding = _decoding(cell)
    drawn = {name: decoding[name] for name in ("temperature", "top_p")} if decoding["temperature"] else {}
    stops = [*cell.settings["stop"], *cell.settings["format"].get("stop", ())]
    return {
        "until": stops,
        "max_gen_toks": decoding["max_new_tokens"],
        "do_sample": decoding["temperature"] > 0,
        **drawn,
    }


def _decoding(cell: Finished) -> Mapping[str, Any]:
    return cell.settings.get("decoding", {})


def _draws(cell: Finished) -> int:
    return _decoding(cell).get("samples", 1)


def _counts(cell: Finished) -> Row:
    return {"original": cell.summary["available"], "effective": len(cell.samples)}


def _source(cell: Finished) -> str:
    return "file" if cell.imported else cell.settings["backend"]


def _run(cell: Finished) -> Row:
    """What the harness says of a run: the model, how it was loaded, and the batch size."""
    if cell.imported:
        return {"model": _source(cell), "model_args": {"file": cell.outputs.record.facts["imported"]["file"]}}
    model, hardware = cell.outputs.record.circumstance["model"], cell.outputs.record.circumstance.get("hardware", {})
    precision = {"dtype": cell.settings["precision"]} if "precision" in cell.settings else {}
    revision = {"revision": model["revision"]} if model.get("revision") else {}
    return {
        "model": _source(cell),
        "model_args": {"pretrained": model["name"], **revision, **precision},
        **({"batch_size": hardware["generation_batch_size"], "device": hardware["device"]} if hardware else {}),
    }


def _drawn_alike(cells: Sequence[Finished]) -> Row:
    """How text was drawn as far as all tasks say the same; where they differ, their ``configs`` say it."""
    found = [generation_arguments(cell) for cell in cells if not cell.imported and _decoding(cell)]
    if not found:
        return {}
    first, *others = found
    return {"gen_kwargs": {k: v for k, v in first.items() if all(o.get(k) == v for o in others)}}


def _libraries(cell: Finished) -> Row:
    known = cell.outputs.record.versions
    return {f"{name}_version": known[name] for name in ("transformers", "tunelab") if name in known}


def _system(cell: Finished) -> Row:
    system = None if cell.imported else cell.settings["format"].get("system")
    return {"system_instruction": system, "system_instruction_sha": digest(system) if system else None}


def _task_hash(rows: Sequence[Row]) -> str | None:
    hashes = ("doc_hash", "prompt_hash", "target_hash")
    return (
        digest("".join(row[h] for row in rows for h in hashes)) if all("prompt_hash" in row for row in rows) else None
    )


def logged_samples(cell: Finished) -> list[Row]:
    """Return a row for each document that has an output, in the order of ``doc_id``."""
    indices = cell.indices()
    answered = sorted((s for s in cell.samples if s.id in cell.results), key=lambda s: indices[s.id])
    rows: list[Row] = []
    for sample in answered:
        draws = [row for row in cell.results[sample.id] if row["outcome"] != "unscored" or row["output"]]
        if not draws:
            continue
        doc = {"id": sample.id, **sample.fields, "targets": list(sample.targets)}
        target, prompt = cell.task.target(sample), draws[0]["prompt"]
        values = {metric: cell.value(sample.id, metric) for metric in cell.metrics()}
        rows.append(
            {
                "doc_id": indices[sample.id],
                "doc": doc,
                "target": target,
                "arguments": _arguments(cell, draws[0]),
                "resps": _responses(draws),
                "filtered_resps": [draw["answer"] for draw in draws],
                "filter": FILTER,
                "metrics": cell.metrics(),
                "doc_hash": digest(json.dumps(doc, indent=2, ensure_ascii=False)),
                **({} if prompt is None else {"prompt_hash": digest(prompt)}),
                "target_hash": digest(target),
                **{metric: value for metric, value in values.items() if value is not None},
            }
        )
    return rows


def _arguments(cell: Finished, draw: Row) -> Row:
    """The requests: one for a text, one a label where labels were chosen by their likelihoods."""
    if "logprobs" in draw:
        labels = enumerate(draw["logprobs"])
        return {f"gen_args_{i}": {"arg_0": draw["prompt"], "arg_1": label} for i, label in labels}
    how = {"arg_1": generation_arguments(cell)} if _decoding(cell) else {}
    return {"gen_args_0": {"arg_0": draw["prompt"], **how}} if draw["prompt"] is not None else {}


def _responses(draws: Sequence[Row]) -> list[Any]:
    if "logprobs" in draws[0]:
        return [[[str(value)]] for value in draws[0]["logprobs"].values()]
    return [[draw["output"] for draw in draws]]
