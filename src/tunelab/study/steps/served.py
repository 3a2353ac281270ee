"""A judge behind an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunelab.errors import StepError
from tunelab.generation.endpoint import ChatRequest, Endpoint, EndpointClient, Reply, Unanswered
from tunelab.study.steps.asking import UNANSWERED, Keep, Question, Silence, messages_for


class ServedJudge:
    """Asks one served model. Raises StudyError for an address without its key."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        self._asked = asked
        self._replied = False
        self._client = EndpointClient(Endpoint.find(asked["model"]["served"], asked["model"]["url"]))

    def ask(self, questions: Sequence[Question], keep: Keep) -> list[str | Silence]:
        """Return the replies in order.

        Raises StepError where none has come so far: that is no judge, and not many bad replies.
        """

        def arrived(index: int, reply: Reply | Unanswered) -> None:
            if isinstance(reply, Reply):
                keep(questions[index], reply.text)

        found = self._client.ask_all([self._request(question) for question in questions], arrived)
        silent = [reply.reason for reply in found if isinstance(reply, Unanswered) and reply.may_pass]
        self._replied |= len(silent) < len(found)
        if not self._replied:
            where = f"{self._asked['model']['served']} at {self._asked['model']['url']}"
            raise StepError(f"judge {where}: no reply to {len(silent)} requests ({silent[0]}); run again to go on")
        return [_silence(reply) if isinstance(reply, Unanswered) else reply.text for reply in found]

    def _request(self, question: Question) -> ChatRequest:
        asked = self._asked
        messages = [{"role": m.role, "content": m.content} for m in messages_for(asked, question.exchange)]
        extra = {"chat_template_kwargs": asked["kwargs"]} if asked["kwargs"] else {}
        return ChatRequest(messages, asked["max_new_tokens"], asked["temperature"], question.repeat, extra)


def _silence(reply: Unanswered) -> Silence:
    return Silence(UNANSWERED if reply.may_pass else "refused by the server", reply.reason)
