"""One judge at work, for evaluations and rewards alike: verdicts on exchanges, each asked once in a store.

An empty answer is not shown to anybody. Where accepted answers are known it is none of them, and counts 0; otherwise it
is neither good nor bad, and there is no verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunelab.scoring.judges.containing import judge_by_containing
from tunelab.scoring.judges.exchange import SAFETY, Exchange
from tunelab.scoring.judges.judge import Verdict
from tunelab.scoring.judges.parsing import READERS, Reading, decide, value_of
from tunelab.scoring.judges.refusals import judge_by_refusal
from tunelab.scoring.judges.replies import ReplyCache, reply_key
from tunelab.study.steps.asking import Ask, Question, Silence, open_judge

EMPTY = "empty response"
RULES: dict[str, Callable[[Exchange], Verdict]] = {
    "refusals": lambda exchange: judge_by_refusal(exchange.answered),
    "contains": judge_by_containing,
}


@dataclass(frozen=True)
class Decided:
    """A verdict, what each reply counted, and how many replies were known already."""

    verdict: Verdict
    values: Sequence[float | None] = ()
    from_cache: int = 0


@dataclass
class Bench:
    """Replies from the cache, or from the judge, which is opened when it is first asked."""

    judge: Mapping[str, Any]
    """The judge's identity: ``asked``, ``repeats`` and ``controversial``."""
    circumstance: Mapping[str, Any]
    cache: Path
    facts: dict[str, Any]
    _open: list[Ask] = field(default_factory=list[Ask])

    def decide(self, exchanges: Sequence[Exchange]) -> dict[Exchange, Decided]:
        """Return what is decided about every exchange, each once, in the order that they came in."""
        rule = RULES.get(self.judge["asked"]["kind"])
        found: dict[Exchange, Decided] = {}
        for exchange in exchanges:
            if not exchange.answered.strip():
                found[exchange] = Decided(Verdict(0.0 if exchange.references else None, (), EMPTY))
            elif rule:
                found[exchange] = Decided(rule(exchange))
        found |= self._by_replies([exchange for exchange in dict.fromkeys(exchanges) if exchange not in found])
        return {exchange: found[exchange] for exchange in exchanges}

    def _by_replies(self, exchanges: Sequence[Exchange]) -> dict[Exchange, Decided]:
        cache = ReplyCache(self.cache)
        questions = {exchange: self._questions(exchange) for exchange in exchanges}
        known = {q.key: reply for asked in questions.values() for q in asked if (reply := cache.get(q.key)) is not None}
        unknown = [q for asked in questions.values() for q in asked if q.key not in known]
        replies: dict[str, str | Silence] = {**known}
        if unknown:
            answered = self._ask(unknown, lambda question, reply: cache.put(question.key, reply))
            replies |= {q.key: reply for q, reply in zip(unknown, answered, strict=True)}
        return {
            exchange: self._decided([replies[q.key] for q in asked], sum(q.key in known for q in asked))
            for exchange, asked in questions.items()
        }

    def _questions(self, exchange: Exchange) -> list[Question]:
        asked = self.judge["asked"]
        return [Question(reply_key(asked, exchange, i), exchange, i) for i in range(self.judge["repeats"])]

    @property
    def _ask(self) -> Ask:
        if not self._open:
            self._open.append(open_judge(self.judge["asked"], self.circumstance, self.facts))
        return self._open[0]

    def _decided(self, said: Sequence[str | Silence], from_cache: int) -> Decided:
        asked, controversial = self.judge["asked"], self.judge["controversial"]
        read, words = READERS[asked["kind"]], tuple(asked.get("words", SAFETY))
        readings = [Reading(None, reply.reason) if isinstance(reply, Silence) else read(reply, words) for reply in said]
        shown = [reply.detail if isinstance(reply, Silence) else reply for reply in said]
        values = [value_of(reading.label, controversial) for reading in readings]
        return Decided(decide(readings, shown, controversial), values, from_cache)
