"""Judge: one judge reads every output of a cell. Resumes where it was, and asks nothing that the store has a reply to.

Equal exchanges are one question, within a step and over all steps of a store. What no reply came to is owed: the next
run asks again. Where a step has nothing else to do and the server is gone by then, what it had stays a result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunelab.engine.context import StepContext
from tunelab.errors import ModelError, StepError
from tunelab.files import append_lines, read_lines, resume_lines, write_lines
from tunelab.scoring.judges.exchange import Exchange
from tunelab.study.judges_plan import VERDICTS
from tunelab.study.steps.asking import UNANSWERED
from tunelab.study.steps.bench import EMPTY, Bench, Decided
from tunelab.study.steps.rows import read_samples
from tunelab.tasks.accepted import exchange_of
from tunelab.tasks.find import find_task

Row = dict[str, Any]


def run(context: StepContext) -> None:
    """Write ``verdicts.jsonl``: a line a draw with the verdict, the judge's own words and what was read in each."""
    task = find_task(context.circumstance["task"], Path(context.circumstance["folder"]))
    samples = {sample.id: sample for sample in read_samples(context.inputs["rows"])}
    outputs = read_lines(context.inputs["outputs"].path("outputs.jsonl"))
    exchanges = {(o["id"], o["sample"]): exchange_of(task, samples[o["id"]], o["output"]) for o in outputs}
    path = context.directory / VERDICTS
    earlier = resume_lines(path)
    unanswered = [row for row in earlier if row["reason"] == UNANSWERED]
    write_lines(path, [row for row in earlier if row["reason"] != UNANSWERED])
    done = {(row["id"], row["sample"]) for row in read_lines(path)}
    owed = {place: exchange for place, exchange in exchanges.items() if place not in done}
    try:
        for made in verdict_rows(context, owed):
            append_lines(path, made)
            done |= {(row["id"], row["sample"]) for row in made}
            context.progress(len(done), len(exchanges), "outputs")
    except (ModelError, StepError) as error:
        lost = [row for row in unanswered if (row["id"], row["sample"]) not in done]
        if len(done) + len(lost) < len(exchanges):
            raise
        append_lines(path, lost)
        context.facts["asked_again"] = str(error)
    context.facts.update(summary(read_lines(path)))
    context.owe(context.facts["unparsed"].get(UNANSWERED, 0), "outputs that a judge did not reply to")


def verdict_rows(context: StepContext, owed: Mapping[tuple[str, int], Exchange]) -> Iterator[list[Row]]:
    """Yield rows of ``verdicts.jsonl``, some at a time, as they are decided."""
    places: dict[Exchange, list[tuple[str, int]]] = {}
    for place, exchange in owed.items():
        places.setdefault(exchange, []).append(place)
    bench = Bench(context.settings["judge"], context.circumstance, context.cache("verdicts"), context.facts)
    size = context.circumstance["hardware"]["generation_batch_size"]
    ordered = sorted(places, key=lambda exchange: (-len(exchange.asked) - len(exchange.answered), exchange))
    for start in range(0, len(ordered), size):
        decided = bench.decide(ordered[start : start + size])
        yield [row for exchange, found in decided.items() for row in _rows(places[exchange], found)]


def _rows(places: Sequence[tuple[str, int]], decided: Decided) -> Iterator[Row]:
    """Yield a row for each output of an exchange; those after the first cost nothing."""
    verdict = decided.verdict
    for number, (id_, sample) in enumerate(places):
        yield {
            "id": id_,
            "sample": sample,
            "value": verdict.value,
            "reason": verdict.reason,
            "replies": list(verdict.replies),
            "values": list(decided.values),
            "from_cache": decided.from_cache if number == 0 else len(verdict.replies),
        }


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Count outputs: those asked about, those with a verdict, those without by reason; and replies from the cache."""
    asked = [row for row in rows if row["reason"] != EMPTY]
    return {
        "outputs": len(rows),
        "empty": len(rows) - len(asked),
        "asked": len(asked),
        "parsed": sum(row["value"] is not None for row in asked),
        "unparsed": dict(Counter(row["reason"] for row in asked if row["value"] is None)),
        "safe": sum(row["value"] == 1 for row in asked),
        "unsafe": sum(row["value"] == 0 for row in asked),
        "empty_as_bad": sum(row["value"] == 0 for row in rows) - sum(row["value"] == 0 for row in asked),
        "replies": sum(len(row["replies"]) for row in asked),
        "from_cache": sum(row["from_cache"] for row in asked),
    }
