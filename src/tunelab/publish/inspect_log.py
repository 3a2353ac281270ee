"""Results as Inspect AI writes them: an eval log (version 2) a cell, that its viewer and ``read_eval_log`` open.

    OUT/<variant>/<date>_<task>_<id>.json

A draw is an epoch of its sample. The input is the task's conversation; what the model read, with its template, its
system prompt and worked examples, is ``metadata.prompt``. Each of the task's metrics is a scorer. A sample without a
value, and one without an output, has no score. No events are made up, and no solver is named: the plan has the
decoding alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tunelab.data.sample import Sample
from tunelab.files import write_json
from tunelab.publish.finished import Finished, by_variant, folder_name, task_names
from tunelab.tasks.samples import question_text

VERSION = 2
STOPS = {"stop": "stop", "stop_string": "stop", "choice": "stop", "length": "max_tokens"}
"""Inspect's reasons for ours; others are unknown."""
Row = dict[str, Any]


def write_inspect(cells: Sequence[Finished], out: Path) -> list[Path]:
    """Write a folder for each variant with a log for each of its cells, and return the files."""
    made: list[Path] = []
    for variant, found in by_variant(cells).items():
        folder = out / folder_name(variant)
        folder.mkdir(parents=True, exist_ok=True)
        for task, cell in zip(task_names(found), found, strict=True):
            date = datetime.fromisoformat(cell.score.record.finished).strftime("%Y-%m-%dT%H-%M-%S+00-00")
            made.append(folder / f"{date}_{task.replace('_', '-')}_{cell.score.record.fingerprint[:22]}.json")
            write_json(made[-1], eval_log(task, cell))
    return made


def eval_log(task: str, cell: Finished) -> Row:
    """Return a cell's log."""
    samples = [_sample(cell, sample, draw) for sample in cell.samples for draw in cell.results.get(sample.id, [])]
    return {
        "version": VERSION,
        "status": "success",
        "eval": _spec(task, cell),
        "plan": {"name": "plan", "steps": [], "config": _config(cell)},
        "results": _results(cell),
        "stats": _stats(cell),
        "samples": samples,
    }


def _spec(task: str, cell: Finished) -> Row:
    record = cell.score.record
    return {
        "eval_id": record.fingerprint[:22],
        "run_id": cell.outputs.record.fingerprint[:22],
        "created": cell.outputs.record.started,
        "task": task,
        "task_id": record.fingerprint[:22],
        "task_version": cell.task.version,
        "dataset": {
            "name": cell.task.name,
            **({"location": cell.origin} if cell.origin else {}),
            "samples": len(cell.samples),
            "sample_ids": [sample.id for sample in cell.samples],
        },
        "model": _model(cell),
        "model_generate_config": _config(cell),
        "model_args": {} if cell.imported else _model_arguments(cell),
        "config": {"epochs": max(map(len, cell.results.values()), default=1)},
        "packages": {"tunelab": record.versions["tunelab"]},
        "metadata": {
            "study": cell.study,
            "question": cell.question,
            "variant": cell.cell.variant.name,
            "evaluation": cell.cell.evaluation.name,
            "imported": cell.imported,
            "scorer_version": cell.task.scorer_version,
            "fingerprint": record.fingerprint,
        },
    }


def _model(cell: Finished) -> str:
    """Name what answered: an untouched model by itself, what was made of one by its variant."""
    variant = cell.cell.variant
    return variant.name if variant.train or variant.imported else variant.model


def _model_arguments(cell: Finished) -> Row:
    return {name: cell.settings[name] for name in ("precision", "backend") if name in cell.settings}


def _config(cell: Finished) -> Row:
    """How text was drawn; nothing where labels were chosen or the outputs are from a file."""
    decoding: Mapping[str, Any] = cell.settings.get("decoding", {})
    if not decoding:
        return {}
    stops = [*cell.settings["stop"], *cell.settings["format"].get("stop", ())]
    system = cell.settings["format"].get("system")
    return {
        "max_tokens": decoding["max_new_tokens"],
        "temperature": decoding["temperature"],
        "top_p": decoding["top_p"],
        "seed": decoding["seed"],
        **({"stop_seqs": stops} if stops else {}),
        **({"system_message": system} if system else {}),
    }


def _results(cell: Finished) -> Row:
    answered = sum(len(draws) for draws in cell.results.values())
    total = answered + cell.summary["unanswered"]
    return {
        "total_samples": total,
        "completed_samples": answered,
        "scores": [_score(cell, metric) for metric in cell.metrics()],
    }


def _score(cell: Finished, metric: str) -> Row:
    found, error = cell.summary["metrics"][metric], cell.standard_error(metric)
    about = {name: found[name] for name in ("low", "high", "method", "definition") if name in found}
    name = metric if cell.is_corpus(metric) else "mean"
    value = {"name": name, "value": found["value"], "metadata": about}
    stderr = {"stderr": {"name": "stderr", "value": error}} if error is not None else {}
    return {
        "name": metric,
        "scorer": metric,
        "scored_samples": found["n"],
        "unscored_samples": cell.summary["n"] - found["n"],
        "metrics": {} if found["value"] is None else {name: value, **stderr},
    }


def _stats(cell: Finished) -> Row:
    facts = cell.outputs.record.facts
    counted = "prompt_tokens" in facts and not any(facts.get("uncounted", {}).values())
    usage = _usage(facts["prompt_tokens"], facts["output_tokens"]) if counted else {}
    return {
        "started_at": cell.outputs.record.started,
        "completed_at": cell.score.record.finished,
        "model_usage": {_model(cell): usage} if usage else {},
    }


def _usage(read: int, written: int) -> Row:
    return {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}


def _sample(cell: Finished, sample: Sample, draw: Row) -> Row:
    conversation = _conversation(cell, sample, draw)
    answer = [] if draw["finish"] == "none" else [{"role": "assistant", "content": draw["output"]}]
    return {
        "id": sample.id,
        "epoch": draw["sample"] + 1,
        "input": conversation,
        **({"choices": list(draw["logprobs"])} if "logprobs" in draw else {}),
        "target": list(sample.targets),
        "messages": [*conversation, *answer],
        "output": _output(cell, draw),
        "scores": {metric: _value(draw, metric) for metric in draw["values"]},
        "metadata": {**sample.metadata, "outcome": draw["outcome"], **_prompt(draw)},
    }


def _conversation(cell: Finished, sample: Sample, draw: Row) -> list[Row]:
    """What was asked: the task's conversation, or of outputs from a file the recorded prompt, else the question."""
    if cell.imported:
        return [{"role": "user", "content": draw["prompt"] or question_text(cell.task, sample)}]
    return [{"role": m.role, "content": m.content} for m in cell.task.messages(sample)]


def _prompt(draw: Row) -> Row:
    return {} if draw["prompt"] is None else {"prompt": draw["prompt"]}


def _output(cell: Finished, draw: Row) -> Row:
    if draw["finish"] == "none":
        return {"model": _model(cell), "choices": [], "completion": "", "error": draw["explanation"]}
    message = {"role": "assistant", "content": draw["output"], "model": _model(cell)}
    read, written = cell.prompt_tokens.get((draw["id"], draw["sample"])), draw["output_tokens"]
    return {
        "model": _model(cell),
        "choices": [{"message": message, "stop_reason": STOPS.get(draw["finish"], "unknown")}],
        "completion": draw["output"],
        **({"usage": _usage(read, written)} if read is not None and written is not None else {}),
    }


def _value(draw: Row, metric: str) -> Row:
    return {
        "value": draw["values"][metric],
        **({"answer": draw["answer"]} if draw["answer"] is not None else {}),
        **({"explanation": draw["explanation"]} if draw["explanation"] else {}),
        "metadata": {"outcome": draw["outcome"]},
    }
