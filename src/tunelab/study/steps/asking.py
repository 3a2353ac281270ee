"""Who replies to a judge's questions: a model in this process, or one behind a server.

Every question ends as a reply or as ``Silence`` with a reason. Replies are handed over as they come, so that a kill
loses at most a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunelab.data.sample import Message
from tunelab.formats.format import Format
from tunelab.formats.guard import GuardRenderer
from tunelab.formats.renderer import Renderer
from tunelab.generation.batches import plan_batches, run_batches
from tunelab.generation.decoding import Decoding, Request
from tunelab.generation.engine.answerers import Answerers, answered_together
from tunelab.generation.stops import open_thought
from tunelab.models.context import context_length
from tunelab.models.load import load_config, load_kind, load_model, load_tokenizer
from tunelab.models.spec import ModelRef
from tunelab.scoring.judges.exchange import SAFETY, Exchange
from tunelab.scoring.judges.judge import PATIENCE
from tunelab.scoring.judges.prompts import as_text, guard_messages, judge_messages


@dataclass(frozen=True)
class Question:
    """One request to a judge. ``key`` is by content, so that equal questions draw equal replies."""

    key: str
    exchange: Exchange
    repeat: int


UNANSWERED = "unanswered"
"""The reason of what may be answered another time."""


@dataclass(frozen=True)
class Silence:
    """No reply: a reason that is counted, and what exactly happened."""

    reason: str
    detail: str = ""


Keep = Callable[[Question, str], None]
Ask = Callable[[Sequence[Question], Keep], list[str | Silence]]


def open_judge(asked: Mapping[str, Any], circumstance: Mapping[str, Any], facts: dict[str, Any]) -> Ask:
    """Load or connect what replies; what is known of a server is added to ``facts``.

    Raises ModelError, FormatError or StudyError.
    """
    if asked["kind"] == "endpoint":
        from tunelab.study.steps.served import ServedJudge

        return ServedJudge(asked, {name: circumstance["model"][name] for name in PATIENCE}, facts).ask
    return LocalJudge(asked, ModelRef(**circumstance["model"]), circumstance["hardware"]).ask


def messages_for(asked: Mapping[str, Any], exchange: Exchange) -> list[Message]:
    """Return what a judge is shown."""
    if asked["kind"] == "guard":
        return guard_messages(exchange)
    return judge_messages(asked["guideline"]["text"], exchange, tuple(asked.get("words", SAFETY)))


class LocalJudge:
    """A model in this process."""

    def __init__(self, asked: Mapping[str, Any], ref: ModelRef, hardware: Mapping[str, Any]) -> None:
        self._asked = asked
        fmt = Format(template="chat", kwargs=asked["kwargs"])
        kind = GuardRenderer if asked["kind"] == "guard" else Renderer
        self.tokenizer = load_tokenizer(ref)
        self._renderer = kind(self.tokenizer, fmt)
        added = [token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        self._control = sorted({*self.tokenizer.all_special_tokens, *added})
        self._context = context_length(load_config(ref))
        self._together = answered_together(hardware, load_kind(ref))
        self._decoding = Decoding(asked["max_new_tokens"], asked["temperature"])
        model = load_model(ref, hardware["device"], asked["precision"])
        self._answerers = Answerers(model, self._renderer, hardware["generation"], hardware["generation_batch_size"])

    def ask(self, questions: Sequence[Question], keep: Keep) -> list[str | Silence]:
        """Return the replies in order; an exchange that does not fit into the model's context gets none."""
        by_key = {question.key: question for question in questions}
        requests = [self.request(question) for question in questions]
        fitting = [request for request in requests if self._fits(request)]
        replies: dict[str, str] = {}
        answer = self._answerers.generator(self._decoding, (), [request.ids for request in fitting])
        for outputs in run_batches(plan_batches(fitting, self._together), answer):
            for output in outputs:
                replies[output.id] = open_thought(output.prompt) + output.output
                keep(by_key[output.id], replies[output.id])
        return [replies.get(question.key, Silence("longer than the judge's context")) for question in questions]

    def request(self, question: Question) -> Request:
        """Render what the model is shown; no text of the exchange becomes a control token."""
        exchange = as_text(question.exchange, self._control)
        prompt = self._renderer.prompt(messages_for(self._asked, exchange))
        return Request(question.key, question.repeat, prompt.text, prompt.ids)

    def _fits(self, request: Request) -> bool:
        return self._context is None or len(request.ids) + self._asked["max_new_tokens"] <= self._context
