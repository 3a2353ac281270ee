"""How long a step's rows are in its model's tokens, where its rows and its tokenizer are on this machine: the longest,
which decides about memory, and the mean, which decides about time.

Prepared rows are read as lines, and only some of them are counted, by the tokenizer's own file and without the
libraries that compute: a plan stays quick whatever a data set's size. What a chat template writes around a
conversation is an allowance.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from tunelab.data.sample import Sample
from tunelab.engine.context import StepContext
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
"""Lines that are counted: the longest in bytes, or as many from all over the file. The longest in tokens is among the
former or little longer."""
MADE = 256
"""Rows that are made where none are prepared."""
READ = ("rows", "pairs", "shots")
"""Inputs of a step that decide about its texts."""

Choose = Callable[[Path], list[dict[str, Any]]]
"""Which lines of a file are counted."""
Reduce = Callable[[Sequence[int], Sequence[int], bool, int], Lengths]
"""What is said of the tokens of prompts and of answers, by whether each has one, and what a template writes around."""


@dataclass
class Longest:
    """Finds the longest rows of steps, each set of rows once."""

    store: Store
    _found: dict[str, Lengths | None] = field(default_factory=dict[str, "Lengths | None"])

    def of(self, step: Step, ref: ModelRef) -> Lengths | None:
        """Return the lengths of a train or generate step's longest rows; None where they are not known yet."""
        return self._once(step, ref, longest_rows, _longest)

    def usual(self, step: Step, ref: ModelRef) -> Lengths | None:
        """Return the mean lengths of the same, rounded up."""
        return self._once(step, ref, spread_rows, _mean)

    def _once(self, step: Step, ref: ModelRef, choose: Choose, reduce: Reduce) -> Lengths | None:
        inputs = {name: made.fingerprint for name, made in step.inputs.items() if name in READ}
        key = json.dumps([reduce.__name__, step.kind, ref.location, step.settings["format"], inputs], sort_keys=True)
        if key not in self._found:
            asked = {name: made for name, made in step.inputs.items() if name in READ}
            prepared = {name: found for name, made in asked.items() if (found := self.store.find(made))}
            self._found[key] = _look(step, ref, prepared, choose, reduce)
        return self._found[key]


def longest_of(step: Step | StepContext, ref: ModelRef, inputs: Mapping[str, Artifact]) -> Lengths | None:
    """Return the lengths of the longest rows of a training whose inputs are all there."""
    return _look(step, ref, {name: made for name, made in inputs.items() if name in READ}, longest_rows, _longest)


def _look(
    step: Step | StepContext, ref: ModelRef, prepared: Mapping[str, Artifact], choose: Choose, reduce: Reduce
) -> Lengths | None:
    path = known_file(ref, "tokenizer.json")
    if path is None or (counter := load_counter(path)) is None:
        return None
    task = find_task(step.circumstance["task"], Path(step.circumstance["folder"]))
    samples = samples_of(step, task, prepared, choose)
    prompts = _prompts(Format(**step.settings["format"]), task, samples, prepared)
    answers = [task.target(sample) for sample in samples] if "recipe" in step.settings else []
    if "pairs" in prepared:
        pairs = choose(prepared["pairs"].path(PAIRS))
        answers = [pair[side] for pair in pairs for side in ("chosen", "rejected")]
    around = AROUND[step.settings["format"]["template"]]
    if not prompts:
        return None
    found = _counted(counter, prompts, answers, around, "pairs" not in step.inputs, reduce)
    return replace(found, shared=_shared(counter, prompts))


def samples_of(
    step: Step | StepContext, task: Task, prepared: Mapping[str, Artifact], choose: Choose
) -> Sequence[Sample]:
    """Return some of a step's rows, or of those that a bundled task makes; none where neither can be had."""
    asked = {name: made for name, made in step.inputs.items() if name in READ}
    if set(prepared) == set(asked):
        return [Sample.from_json(row) for row in choose(prepared["rows"].path(ROWS))]
    rows = asked["rows"]
    return _made(task, rows) if set(asked) == {"rows"} and isinstance(rows, Step) else []


def longest_rows(path: Path) -> list[dict[str, Any]]:
    """Return a file's longest lines."""
    with path.open("rb") as lines:
        return [json.loads(line) for line in heapq.nlargest(COUNTED, lines, key=len)]


def spread_rows(path: Path, number: int = COUNTED) -> list[dict[str, Any]]:
    """Return so many of a file's lines at equal distances, or all of them."""
    with path.open("rb") as lines:
        found = list(lines)
    number = min(number, len(found))
    return [json.loads(found[at * len(found) // number]) for at in range(number)]


def _made(task: Task, rows: Step) -> list[Sample]:
    """Return some rows of a bundled task that makes its own; no others are made for a plan."""
    if task.dataset is not None or task.name not in BUNDLED or "split" not in rows.settings:
        return []
    return list(islice(task.load(rows.settings["split"], None), MADE))


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


def _counted(
    counter: Any, prompts: Sequence[str], answers: Sequence[str], around: int, joint: bool, reduce: Reduce
) -> Lengths:
    read, learnt = ([len(found) for found in counter.encode_batch_fast(list(texts))] for texts in (prompts, answers))
    return reduce(read, learnt, joint, around)


def _shared(counter: Any, prompts: Sequence[str]) -> int:
    """Count what all prompts begin with; the token at the seam may be another."""
    first, last = min(prompts), max(prompts)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return max(0, len(counter.encode(first[:length]).ids) - 1)


def _longest(read: Sequence[int], learnt: Sequence[int], joint: bool, around: int) -> Lengths:
    """Where a prompt is not known beside its answer, the longest are taken to meet."""
    answer = max(learnt, default=0)
    row = max(map(sum, zip(read, learnt, strict=True))) if joint and learnt else max(read) + answer
    return Lengths(max(read) + around, answer + around, row + around)


def _mean(read: Sequence[int], learnt: Sequence[int], joint: bool, around: int) -> Lengths:
    """Without an allowance: it is for comparing rows, which all have the same around them."""
    prompt, answer = (math.ceil(sum(counts) / len(counts)) if counts else 0 for counts in (read, learnt))
    return Lengths(prompt, answer, prompt + answer)
