"""Judge: one judge reads every output of a cell. Resumes where it was, and asks nothing that the store has a reply to.

Equal exchanges are one question, within a step and over all steps of a store. What no reply came to is owed: the next
run asks again. Where a step has nothing else to do and the server is gone by then, what it had stays a result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunelab.engine.context import StepContext
from tunelab.errors import ModelError, StepError
from tunelab.files import append_lines, read_lines, resume_lines, write_lines
from tunelab.scoring.judges.judge import Verdict
from tunelab.scoring.judges.parsing import READERS, Reading, decide, value_of
from tunelab.scoring.judges.prompts import Exchange
from tunelab.scoring.judges.refusals import judge_by_refusal
from tunelab.scoring.judges.replies import ReplyCache, reply_key
from tunelab.study.judges_plan import VERDICTS
from tunelab.study.steps.asking import UNANSWERED, Ask, Question, Silence, open_judge
from tunelab.study.steps.rows import read_samples
from tunelab.tasks.find import find_task
from tunelab.tasks.task import is_judged

EMPTY = "empty response"

Row = dict[str, Any]
Outputs = Sequence[tuple[str, int]]
"""Ids and draws of the outputs that are one and the same exchange."""


def run(context: StepContext) -> None:
    """Write ``verdicts.jsonl``: a line a draw with the verdict, the judge's own words and what was read in each."""
    task = find_task(context.circumstance["task"], Path(context.circumstance["folder"]))
    assert is_judged(task)
    samples = {sample.id: sample for sample in read_samples(context.inputs["rows"])}
    outputs = read_lines(context.inputs["outputs"].path("outputs.jsonl"))
    exchanges = {(o["id"], o["sample"]): task.exchange(samples[o["id"]], o["output"]) for o in outputs}
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
    empty = [place for place, (_, answer) in owed.items() if not answer.strip()]
    yield [_row(place, Verdict(None, (), EMPTY)) for place in empty]
    by_exchange: dict[Exchange, list[tuple[str, int]]] = {}
    for place, exchange in owed.items():
        if exchange[1].strip():
            by_exchange.setdefault(exchange, []).append(place)
    if context.settings["judge"]["asked"]["kind"] == "refusals":
        for exchange, places in by_exchange.items():
            yield [_row(place, judge_by_refusal(exchange[1])) for place in places]
        return
    bench = Bench(context)
    size = context.circumstance["hardware"]["generation_batch_size"]
    ordered = sorted(by_exchange, key=lambda exchange: (-len(exchange[0]) - len(exchange[1]), exchange))
    for start in range(0, len(ordered), size):
        chunk = ordered[start : start + size]
        yield bench.rows({exchange: by_exchange[exchange] for exchange in chunk})


@dataclass
class Bench:
    """One judge at work: replies from the cache, or from the judge, which is opened when it is first asked."""

    context: StepContext
    _open: list[Ask] = field(default_factory=list[Ask])

    @property
    def judge(self) -> Mapping[str, Any]:
        """The judge's part of the step's identity."""
        return self.context.settings["judge"]

    def rows(self, exchanges: Mapping[Exchange, Outputs]) -> list[Row]:
        """Decide about some exchanges: a row for each of their outputs."""
        cache = ReplyCache(self.context.cache("verdicts"))
        questions = {exchange: self._questions(exchange) for exchange in exchanges}
        known = {q.key: reply for asked in questions.values() for q in asked if (reply := cache.get(q.key)) is not None}
        unknown = [q for asked in questions.values() for q in asked if q.key not in known]
        replies: dict[str, str | Silence] = {**known}
        if unknown:
            answered = self._ask(unknown, lambda question, reply: cache.put(question.key, reply))
            replies |= {q.key: reply for q, reply in zip(unknown, answered, strict=True)}
        found: list[Row] = []
        for exchange, places in exchanges.items():
            said = [replies[q.key] for q in questions[exchange]]
            cached = sum(q.key in known for q in questions[exchange])
            found += [self._decided(place, said, cached if i == 0 else len(said)) for i, place in enumerate(places)]
        return found

    def _questions(self, exchange: Exchange) -> list[Question]:
        asked = self.judge["asked"]
        return [Question(reply_key(asked, exchange, i), exchange, i) for i in range(self.judge["repeats"])]

    @property
    def _ask(self) -> Ask:
        if not self._open:
            self._open.append(open_judge(self.judge["asked"], self.context.circumstance, self.context.facts))
        return self._open[0]

    def _decided(self, place: tuple[str, int], said: Sequence[str | Silence], from_cache: int) -> Row:
        read = READERS[self.judge["asked"]["kind"]]
        readings = [Reading(None, reply.reason) if isinstance(reply, Silence) else read(reply) for reply in said]
        words = [reply.detail if isinstance(reply, Silence) else reply for reply in said]
        verdict = decide(readings, words, self.judge["controversial"])
        values = [value_of(reading.label, self.judge["controversial"]) for reading in readings]
        return _row(place, verdict, values, from_cache)


def _row(place: tuple[str, int], verdict: Verdict, values: Sequence[float | None] = (), from_cache: int = 0) -> Row:
    return {
        "id": place[0],
        "sample": place[1],
        "value": verdict.value,
        "reason": verdict.reason,
        "replies": list(verdict.replies),
        "values": list(values),
        "from_cache": from_cache,
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
        "replies": sum(len(row["replies"]) for row in asked),
        "from_cache": sum(row["from_cache"] for row in asked),
    }
