"""A judge behind an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunelab.errors import StepError
from tunelab.generation.endpoint import ChatRequest, Reply, Unanswered
from tunelab.study.steps.asking import UNANSWERED, Keep, Question, Silence, messages_for
from tunelab.study.steps.serving import Server, chat_request, endpoint_of


class ServedJudge:
    """Asks one served model. Raises StudyError for an address without its key."""

    def __init__(self, asked: Mapping[str, Any], patience: Mapping[str, Any], facts: dict[str, Any]) -> None:
        self._asked = asked
        self._replied = False
        served = {"name": asked["model"]["served"], "url": asked["model"]["url"], **patience}
        self._server = Server(endpoint_of(served), facts)

    def ask(self, questions: Sequence[Question], keep: Keep) -> list[str | Silence]:
        """Return the replies in order.

        Raises StepError where none has come so far: that is no judge, and not many bad replies.
        """

        def arrived(index: int, reply: Reply | Unanswered) -> None:
            if isinstance(reply, Reply):
                keep(questions[index], reply.text)

        found = self._server.ask([self._request(question) for question in questions], arrived)
        silent = [reply.reason for reply in found if isinstance(reply, Unanswered) and reply.may_pass]
        self._replied |= len(silent) < len(found)
        if not self._replied:
            where = f"{self._asked['model']['served']} at {self._asked['model']['url']}"
            raise StepError(f"judge {where}: no reply to {len(silent)} requests ({silent[0]}); run again to go on")
        return [_silence(reply) if isinstance(reply, Unanswered) else reply.text for reply in found]

    def _request(self, question: Question) -> ChatRequest:
        return chat_request(messages_for(self._asked, question.exchange), self._asked, question.repeat)


def _silence(reply: Unanswered) -> Silence:
    return Silence(UNANSWERED if reply.may_pass else "refused by the server", reply.reason)
