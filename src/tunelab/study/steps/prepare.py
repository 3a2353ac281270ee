"""Prepare: the rows of one split that a study uses, with a receipt that says where every row went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunelab.data.leaks import find_leaks
from tunelab.data.sample import Sample
from tunelab.data.subsets import few_shots, subset, without
from tunelab.engine.context import StepContext
from tunelab.errors import DataError
from tunelab.files import write_json
from tunelab.study.source import choose_source
from tunelab.study.spec import Data
from tunelab.study.steps.rows import questions, questions_of, write_samples
from tunelab.tasks.task import HasReceipt, Task, find_task, load_samples


def run(context: StepContext) -> None:
    """Write ``rows.jsonl`` and ``receipt.json``."""
    settings, circumstance = context.settings, context.circumstance
    folder = Path(circumstance["folder"])
    task = find_task(circumstance["task"], folder)
    source = choose_source(task, Data(**circumstance["data"]), folder, circumstance["smoke"], circumstance.get("file"))
    found = load_samples(task, settings["split"], source)
    receipt: dict[str, Any] = {"available": len(found), "source": settings["source"]}
    if isinstance(task, HasReceipt):
        receipt |= task.receipt(settings["split"], source)
    found = _without_long(found, task, settings, receipt)
    if "shots" in settings:
        chosen = few_shots(found, settings["shots"]["k"], settings["shots"]["seed"])
    else:
        kept = _without_shots(found, task, context, receipt)
        kept = _without_reserved(kept, settings, receipt)
        kept = _without_leaks(kept, task, context, receipt)
        chosen = subset(kept, _size(settings, len(kept)), settings["seed"])
    receipt["rows"] = len(chosen)
    write_samples(context.directory, chosen)
    write_json(context.directory / "receipt.json", receipt)
    context.facts["receipt"] = receipt


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
    """The declared size; a smoke run takes what there is when there is less."""
    size = settings["rows"]
    return min(size, available) if settings.get("at_most") and isinstance(size, int) else size


def _without_shots(samples: list[Sample], task: Task, context: StepContext, receipt: dict[str, Any]) -> list[Sample]:
    """Leave out the rows of a file that ask what a worked example asks: their ids are not those of the examples."""
    found = find_leaks(questions_of(context, "shots_"), questions(task, samples))
    repeats = {leak.evaluation_id for leak in found if leak.kind == "exact"}
    receipt["reserved_for_few_shots"] = len(repeats)
    return without(samples, repeats)


def _without_reserved(samples: list[Sample], settings: Any, receipt: dict[str, Any]) -> list[Sample]:
    """Leave out the rows that serve as worked examples in some format, or choose the variant's learning rate."""
    reserve: list[dict[str, int]] = settings.get("reserve") or []
    reserved = {s.id for part in reserve for s in few_shots(samples, part["k"], part["seed"])}
    receipt["reserved_for_few_shots"] = receipt.get("reserved_for_few_shots", 0) + len(reserved)
    rest = without(samples, reserved)
    if "held_out" not in settings:
        return rest
    held: dict[str, int] = settings["held_out"]
    held_out = {s.id for s in subset(rest, _size({**settings, **held}, len(rest)), held["seed"])}
    receipt["held_out"] = len(held_out)
    return without(rest, held_out)


def _without_leaks(samples: list[Sample], task: Task, context: StepContext, receipt: dict[str, Any]) -> list[Sample]:
    """Leave out the rows that give evaluation rows away, where the study asks for it."""
    evaluated = questions_of(context, "avoid_")
    if not evaluated:
        return samples
    dropped: set[str] = set()
    while leaks := find_leaks(questions(task, without(samples, dropped)), evaluated):
        dropped |= {leak.train_id for leak in leaks}
    receipt["dropped_as_leaks"] = sorted(dropped)
    kept = without(samples, dropped)
    if not kept:
        raise DataError("data.leaks: drop would leave no training row; use other training rows")
    return kept
