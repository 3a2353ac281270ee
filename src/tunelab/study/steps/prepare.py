"""Prepare: the rows of one split that a study uses, with a receipt that says where every row went."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunelab.data.leaks import leaking, repeats
from tunelab.data.sample import Sample
from tunelab.data.sources import Source
from tunelab.data.subsets import subset, without
from tunelab.engine.context import StepContext
from tunelab.errors import DataError
from tunelab.files import write_json, write_lines
from tunelab.formats.format import FewShots
from tunelab.models.spec import ModelRef
from tunelab.study.made_splits import part_of
from tunelab.study.source import choose_source
from tunelab.study.spec import Data
from tunelab.study.steps.rows import questions, questions_of, write_samples
from tunelab.study.worked_examples import drawn_examples, read_examples
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import load_samples
from tunelab.tasks.task import HasReceipt, Task

EXAMPLES = "examples.jsonl"


def run(context: StepContext) -> None:
    """Write ``rows.jsonl`` and ``receipt.json``; for worked examples their rows in columns that can be edited too."""
    settings, circumstance = context.settings, context.circumstance
    folder = Path(circumstance["folder"])
    task, split = find_task(circumstance["task"], folder), whole_split(settings)
    if "examples" in circumstance:
        chosen, rows = read_examples(Path(circumstance["examples"]), task, settings["split"])
        receipt: dict[str, Any] = {"available": len(chosen), "source": settings["source"]}
        write_lines(context.directory / EXAMPLES, rows)
    else:
        data, file = Data(**circumstance["data"]), circumstance.get("file")
        source = choose_source(task, data, folder, circumstance["smoke"], file)
        found = load_samples(task, split, source)
        receipt = {"available": len(found), "source": settings["source"]}
        if isinstance(task, HasReceipt):
            receipt |= task.receipt(split, source)
        if "made" in settings:
            counted = ModelRef(**circumstance["tokenizer"]) if "tokenizer" in circumstance else None
            found, receipt["made"] = part_of(found, task, settings["split"], settings["made"], counted)
            receipt["available"] = len(found)
        chosen = _chosen(found, task, source, context, receipt)
    receipt["rows"] = len(chosen)
    write_samples(context.directory, chosen)
    write_json(context.directory / "receipt.json", receipt)
    context.facts["receipt"] = receipt


def whole_split(settings: Mapping[str, Any]) -> str:
    """Return the data set's split that a prepare step's rows are of, all or part of it."""
    return settings["made"]["from"] if "made" in settings else settings["split"]


def _chosen(
    found: list[Sample], task: Task, source: Source | None, context: StepContext, receipt: dict[str, Any]
) -> list[Sample]:
    """Return a subset of a split's rows, or the worked examples that are drawn from them."""
    settings = context.settings
    fitting = _without_long(found, task, settings, receipt)
    if "shots" not in settings:
        kept = _without_leaks(_without_reserved(fitting, task, context, receipt), task, context, receipt)
        return subset(kept, _size(settings, len(kept)), settings["seed"])
    shots = FewShots(**settings["shots"])
    chosen, rows = drawn_examples(fitting, shots, task, whole_split(settings), source)
    write_lines(context.directory / EXAMPLES, rows)
    return chosen


def _without_long(samples: list[Sample], task: Task, settings: Any, receipt: dict[str, Any]) -> list[Sample]:
    """Leave out the rows that a smoke run's model has no room for."""
    if "longest" not in settings:
        return samples
    kept = [s for s in samples if _bytes(task, s) <= settings["longest"]]
    if not kept:
        raise DataError(f"smoke: every row has more than {settings['longest']} bytes; give it shorter rows")
    receipt["left_out_as_long"] = len(samples) - len(kept)
    return kept


def _bytes(task: Task, sample: Sample) -> int:
    words = [*(message.content for message in task.messages(sample)), task.target(sample)]
    return sum(len(text.encode()) for text in words)


def _size(settings: Any, available: int) -> int | float | None:
    """The declared size; a smoke run takes at most a share of what there is."""
    size, share = settings["rows"], settings.get("at_most")
    return min(size, max(1, int(share * available))) if share and isinstance(size, int) else size


def _without_reserved(samples: list[Sample], task: Task, context: StepContext, receipt: dict[str, Any]) -> list[Sample]:
    """Leave out the rows that ask what a worked example of some format asks, or what chooses among candidates asks."""
    kept = samples
    for prefix, name in (("reserved_", "reserved_for_few_shots"), ("held_", "held_out")):
        apart = repeats(questions(task, kept), questions_of(context, prefix))
        if prefix == "reserved_" or any(given.startswith(prefix) for given in context.inputs):
            receipt[name] = len(apart)
        kept = without(kept, apart)
    return kept


def _without_leaks(samples: list[Sample], task: Task, context: StepContext, receipt: dict[str, Any]) -> list[Sample]:
    """Leave out the rows that give evaluation rows away, where the study asks for it."""
    evaluated = questions_of(context, "avoid_")
    if not evaluated:
        return samples
    dropped = leaking(questions(task, samples), evaluated)
    receipt["dropped_as_leaks"] = sorted(dropped)
    kept = without(samples, dropped)
    if not kept:
        raise DataError("data.leaks: drop would leave no training row; use other training rows")
    return kept
