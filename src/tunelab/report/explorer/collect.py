"""What the page holds of a study: columns for counting, and texts a hundred samples at a time.

A sample is a row of its task, whoever answered it; a cell that was not asked it has no draw there. Columns are one
chunk a task. Texts are chunks of the samples' facts (targets, metadata), of prompts, which cells share where they are
equal, and of each cell's answers. A cell is read when its turn comes and forgotten when its chunks are packed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from tunelab.engine.record import Artifact
from tunelab.files import read_json, read_lines
from tunelab.report.evidence import Evidence
from tunelab.report.explorer.packed import Packed
from tunelab.report.explorer.texts import SENSITIVE, WHOLE, Limit, Text
from tunelab.report.explorer.tokens import Tokenizers
from tunelab.study.judges_plan import VERDICTS
from tunelab.study.steps.answers import OUTPUTS
from tunelab.study.steps.score import SCORES, group_of

Row = dict[str, Any]

CHUNK = 100
"""Samples whose texts are opened together."""
MOST = 300_000_000
"""Bytes of results whose texts a page carries; of a larger study every task has the texts of its first samples."""
RESULTS = "results.json"
NOT_ASKED, MIXED = "not_asked", "mixed"


@dataclass
class Samples:
    """The samples of a task, with the number of those whose texts are carried."""

    number: int
    name: str
    ids: list[str]
    texts: int
    groups: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    facts: dict[str, Row] = field(default_factory=dict[str, Row])
    prompts: dict[str, int] = field(default_factory=dict[str, int])
    """Digest of the prompts of some cell to the number under which they are packed."""
    tokens: dict[tuple[int, Path], str] = field(default_factory=dict[tuple[int, Path], str])
    """Prompts and tokenizer to the name under which the tokens of the ones by the other are packed."""


def collect(evidence: Evidence, packed: Packed, most: int = MOST) -> tuple[list[Row], list[Row]]:
    """Pack every scored cell; return what the page must know of its tasks and of its cells."""
    by_task: dict[str, dict[str, Artifact]] = {}
    for name, artifact in evidence.of("score").items():
        by_task.setdefault(artifact.record.facts["task"], {})[name] = artifact
    size = sum(a.path(RESULTS).stat().st_size for found in by_task.values() for a in found.values())
    share = min(1.0, most / max(size, 1))
    tokenizers = Tokenizers()
    tasks: list[Row] = []
    cells: list[Row] = []
    for number, (name, found) in enumerate(by_task.items()):
        samples = _samples(number, name, found, share)
        columns = {
            cell: _put_cell(evidence, packed, samples, cell, len(cells) + i, tokenizers) for i, cell in enumerate(found)
        }
        packed.put(f"columns-{number}", {"ids": samples.ids, "groups": _coded(samples), "cells": columns})
        _put_chunks(packed, f"facts-{number}", samples, [samples.facts.get(i) for i in samples.ids])
        tasks.append({"name": name, "samples": len(samples.ids), "texts": samples.texts})
        cells += [{"cell": cell, "task": number, **columns[cell].pop("asked")} for cell in found]
    return tasks, cells


def _samples(number: int, name: str, cells: Mapping[str, Artifact], share: float) -> Samples:
    """Read which samples any of a task's cells was asked, in the order of the first that was."""
    ids = list(dict.fromkeys(row["id"] for artifact in cells.values() for row in read_lines(artifact.path(SCORES))))
    texts = len(ids) if share == 1 else min(len(ids), CHUNK * max(1, int(share * len(ids) / CHUNK)))
    return Samples(number, name, ids, texts)


def _put_cell(
    evidence: Evidence, packed: Packed, samples: Samples, name: str, number: int, tokenizers: Tokenizers
) -> Row:
    """Pack a cell's texts and return its columns."""
    artifact = evidence.inputs[f"score/{name}"]
    limit = SENSITIVE if artifact.record.facts.get("sensitive") else WHOLE
    rows: dict[str, list[Row]] = {}
    for row in read_json(artifact.path(RESULTS)):
        rows.setdefault(row["id"], []).append(row)
    for id_, draws in rows.items():
        _note_facts(samples, artifact, id_, draws[0], limit)
    beside = _beside(evidence, name, limit)
    answers = [
        [_answer(row, limit) | beside.get((i, row["sample"]), {}) for row in rows.get(i, [])] for i in samples.ids
    ]
    _put_chunks(packed, f"answers-{number}", samples, answers)
    prompts = [_prompt(rows[i][0], limit) if i in rows else None for i in samples.ids]
    headline = next(iter(artifact.record.facts["metrics"]))
    columns = _columns([rows.get(i, []) for i in samples.ids], headline)
    asked: Row = {"prompts": _put_prompts(packed, samples, prompts)}
    generated = evidence.inputs.get(f"generate/{name}")
    if path := tokenizers.path_of(generated.record if generated else None):
        asked["tokens"] = _put_tokens(packed, samples, asked["prompts"], prompts, path, tokenizers)
    return {**columns, "asked": asked}


def _note_facts(samples: Samples, artifact: Artifact, id_: str, row: Row, limit: Limit) -> None:
    """Keep what is the same whoever answers, from the first cell that has it."""
    for name in artifact.record.facts.get("groups", {}):
        samples.groups.setdefault(name, {}).setdefault(id_, group_of(row["metadata"], name))
    if id_ not in samples.facts:
        targets = [limit.cut(target) for target in row["targets"]]
        samples.facts[id_] = {"targets": targets, "metadata": limit.cut_all(row["metadata"])}


def _prompt(row: Row, limit: Limit) -> Text | None:
    """Return what was sent; of outputs from a file nobody may know it."""
    return None if row["prompt"] is None else limit.cut(row["prompt"])


def _answer(row: Row, limit: Limit) -> Row:
    """Return what is shown of a draw; what there is not is left out."""
    texts = {name: limit.cut(row[name]) for name in ("output", "answer", "explanation") if row[name]}
    known = {name: row[name] for name in ("finish", "output_tokens") if row[name] is not None}
    return {"outcome": row["outcome"], "values": row["values"], **texts, **known}


def _beside(evidence: Evidence, name: str, limit: Limit) -> dict[tuple[str, int], Row]:
    """Return, by sample and draw, what stands in other files: tokens of the prompt, and the judges' verdicts."""
    found: dict[tuple[str, int], Row] = {}
    for row in _lines(evidence.inputs.get(f"generate/{name}"), OUTPUTS):
        found[row["id"], row["sample"]] = {"prompt_tokens": row["prompt_tokens"]}
    for judge, artifact in evidence.of("judge").items():
        if judge.startswith(f"{name}/"):
            for row in _lines(artifact, VERDICTS):
                verdict = {"judge": judge.removeprefix(f"{name}/"), "value": row["value"], "reason": row["reason"]}
                replies = [limit.cut(reply) for reply in row["replies"]]
                place = found.setdefault((row["id"], row["sample"]), {})
                place.setdefault("verdicts", []).append(verdict | {"replies": replies})
    return found


def _lines(artifact: Artifact | None, name: str) -> Iterator[Row]:
    if artifact is not None and name in artifact.record.files:
        yield from read_lines(artifact.path(name))


def _columns(draws: Sequence[Sequence[Row]], headline: str) -> Row:
    """Return a cell's outcomes, mean headline values and longest outputs in tokens, one a sample."""
    return {
        "outcomes": [_outcome(found) for found in draws],
        "values": [_mean([row["values"][headline] for row in found if row["values"]]) for found in draws],
        "tokens": [max((row["output_tokens"] or 0 for row in found), default=0) for found in draws],
    }


def _outcome(draws: Sequence[Row]) -> str:
    found = {row["outcome"] for row in draws}
    return found.pop() if len(found) == 1 else MIXED if found else NOT_ASKED


def _mean(values: Sequence[float]) -> float | None:
    return round(fmean(values), 9) if values else None


def _put_prompts(packed: Packed, samples: Samples, prompts: Sequence[Text | None]) -> int:
    """Pack prompts unless a cell of the task had the same; return their number."""
    digest = hashlib.sha256(json.dumps(prompts).encode("ascii")).hexdigest()
    if digest not in samples.prompts:
        samples.prompts[digest] = len(samples.prompts)
        _put_chunks(packed, f"prompts-{samples.number}-{samples.prompts[digest]}", samples, prompts)
    return samples.prompts[digest]


def _put_tokens(
    packed: Packed, samples: Samples, number: int, prompts: Sequence[Text | None], path: Path, tokenizers: Tokenizers
) -> str:
    """Pack where a tokenizer parts prompts, unless a cell with the same of both did; return the name of the chunks."""
    if (number, path) not in samples.tokens:
        samples.tokens[number, path] = name = f"tokens-{samples.number}-{len(samples.tokens)}"
        _put_chunks(packed, name, samples, tokenizers.split(path, prompts[: samples.texts]))
    return samples.tokens[number, path]


def _put_chunks(packed: Packed, name: str, samples: Samples, texts: Sequence[Any]) -> None:
    for start in range(0, samples.texts, CHUNK):
        packed.put(f"{name}-{start // CHUNK}", texts[start : min(start + CHUNK, samples.texts)])


def _coded(samples: Samples) -> dict[str, Row]:
    """Return each grouping's values, sorted, and the place of every sample's value among them; -1 for none."""
    found: dict[str, Row] = {}
    for name, of in samples.groups.items():
        values = sorted(set(of.values()))
        place = {value: i for i, value in enumerate(values)}
        found[name] = {"values": values, "of": [place[of[i]] if i in of else -1 for i in samples.ids]}
    return found
