"""How long a step's longest row is in its model's tokens, where its rows and its tokenizer are on this machine.

Prepared rows are read as lines, and only the longest lines are counted, by the tokenizer's own file and without the
libraries that compute: a plan stays quick whatever a data set's size. What a chat template writes around a
conversation is an allowance.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from tunelab.data.sample import Sample
from tunelab.engine.record import Artifact
from tunelab.engine.step import Step
from tunelab.engine.store import Store
from tunelab.formats.conversation import Shot, conversation, raw_text
from tunelab.formats.format import Format
from tunelab.models.footprint import Lengths
from tunelab.models.spec import ModelRef, known_file
from tunelab.study.steps.pairs import PAIRS
from tunelab.study.steps.rows import ROWS, read_shots
from tunelab.tasks.find import BUNDLED, find_task
from tunelab.tasks.task import Task

AROUND = {"chat": 32, "raw": 2}
"""Tokens for what a template writes around a conversation and its answer; a plain format ends it."""
COUNTED = 64
"""Lines that are counted: the longest in bytes. The longest in tokens is among them or little longer."""
MADE = 256
"""Rows that are made where none are prepared."""
READ = ("rows", "pairs", "shots")
"""Inputs of a step that decide about its texts."""


@dataclass
class Longest:
    """Finds the longest rows of steps, each set of rows once."""

    store: Store
    _found: dict[str, Lengths | None] = field(default_factory=dict[str, "Lengths | None"])

    def of(self, step: Step, ref: ModelRef) -> Lengths | None:
        """Return the lengths of a train or generate step's rows; None where they are not known yet."""
        inputs = {name: made.fingerprint for name, made in step.inputs.items() if name in READ}
        key = json.dumps([step.kind, ref.location, step.settings["format"], inputs], sort_keys=True)
        if key not in self._found:
            self._found[key] = self._look(step, ref)
        return self._found[key]

    def _look(self, step: Step, ref: ModelRef) -> Lengths | None:
        path = known_file(ref, "tokenizer.json")
        if path is None or (counter := load_counter(path)) is None:
            return None
        asked = {name: made for name, made in step.inputs.items() if name in READ}
        prepared = {name: found for name, made in asked.items() if (found := self.store.find(made))}
        task = find_task(step.circumstance["task"], Path(step.circumstance["folder"]))
        if set(prepared) == set(asked):
            samples = [Sample.from_json(row) for row in _longest_rows(prepared["rows"].path(ROWS))]
        else:
            samples = _made(task, asked)
        prompts = _prompts(Format(**step.settings["format"]), task, samples, prepared)
        answers = [task.target(sample) for sample in samples] if step.kind == "train" else []
        if "pairs" in prepared:
            pairs = _longest_rows(prepared["pairs"].path(PAIRS))
            answers = [pair[side] for pair in pairs for side in ("chosen", "rejected")]
        around = AROUND[step.settings["format"]["template"]]
        return _counted(counter, prompts, answers, around, "pairs" not in asked) if prompts else None


def _longest_rows(path: Path) -> list[dict[str, Any]]:
    with path.open("rb") as lines:
        return [json.loads(line) for line in heapq.nlargest(COUNTED, lines, key=len)]


def _made(task: Task, asked: Mapping[str, Step]) -> list[Sample]:
    """Return some rows of a bundled task that makes its own; no others are made for a plan."""
    if set(asked) != {"rows"} or task.dataset is not None or task.name not in BUNDLED:
        return []
    return list(islice(task.load(asked["rows"].settings["split"], None), MADE))


def _prompts(fmt: Format, task: Task, samples: Sequence[Sample], inputs: Mapping[str, Artifact]) -> list[str]:
    """Return the words of prompts, without what only a tokenizer's template knows."""
    shots: list[Shot] = read_shots(task, inputs, fmt.few_shots.k)
    turns = [conversation(fmt, shots, task.messages(sample)) for sample in samples]
    return [raw_text(fmt, t) if fmt.template == "raw" else "\n".join(turn.content for turn in t) for t in turns]


def load_counter(path: Path) -> Any:
    """Load what counts tokens; None for a file that it cannot read, of which loading the model says what is wrong."""
    from tokenizers import Tokenizer

    try:
        tokenizer: Any = Tokenizer.from_file(str(path))
    except Exception:  # noqa: BLE001 - the library raises nothing narrower
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _counted(counter: Any, prompts: Sequence[str], answers: Sequence[str], around: int, joint: bool) -> Lengths:
    """Count texts. Where a prompt is not known beside its answer, the longest are taken to meet."""
    read, learnt = ([len(found) for found in counter.encode_batch_fast(list(texts))] for texts in (prompts, answers))
    answer = max(learnt, default=0)
    row = max(map(sum, zip(read, learnt, strict=True))) if joint and learnt else max(read) + answer
    return Lengths(max(read) + around, answer + around, row + around)
