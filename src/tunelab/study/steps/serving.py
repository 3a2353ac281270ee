"""A model behind a server, as steps ask it: what it can do is asked first, and what it took is kept as facts.

Models that are evaluated and judges share this. A server that leaves out silently what it was sent (a system message)
is refused before the first request, since its answers would be answers to something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tunelab.data.sample import Message
from tunelab.errors import ModelError
from tunelab.generation.address import find_address
from tunelab.generation.endpoint import ChatRequest, Endpoint, EndpointClient, OnReply, Reply, Unanswered, tally
from tunelab.generation.probe import Capabilities, probe
from tunelab.generation.retries import Patience

SERVER = "server"
"""The fact under which a record keeps what the server can do and what was asked of it."""


def endpoint_of(circumstance: Mapping[str, Any]) -> Endpoint:
    """Return where and how a study's served model is asked, with the environment's key. Raises StudyError."""
    slots, timeout, attempts = (circumstance[name] for name in ("slots", "timeout", "attempts"))
    deadline = max(Patience.deadline, timeout * attempts)
    patience = Patience(timeout, attempts, deadline, first_wait=circumstance.get("first_wait", Patience.first_wait))
    return Endpoint(find_address(circumstance["url"]), circumstance["name"], slots, patience)


def chat_request(messages: Sequence[Message], decoding: Mapping[str, Any], seed: int | None) -> ChatRequest:
    """Return a request; ``decoding`` has max_new_tokens, temperature, and maybe top_p and kwargs of the template."""
    extra: dict[str, Any] = {"chat_template_kwargs": decoding["kwargs"]} if decoding.get("kwargs") else {}
    if decoding.get("top_p", 1.0) < 1:
        extra["top_p"] = decoding["top_p"]
    turns = [{"role": message.role, "content": message.content} for message in messages]
    return ChatRequest(turns, decoding["max_new_tokens"], decoding["temperature"], seed, extra)


class Server:
    """Asks one endpoint for one step, and adds what it took to the step's facts."""

    def __init__(self, endpoint: Endpoint, facts: dict[str, Any]) -> None:
        self._client = EndpointClient(endpoint)
        self._facts = facts
        self._can: Capabilities | None = None

    def ask(self, requests: Sequence[ChatRequest], on_reply: OnReply) -> list[Reply | Unanswered]:
        """Return what became of each request, as ``EndpointClient.ask_all`` does and with its errors.

        Raises ModelError too where the server takes no system message and a request has one.
        """
        can = self._probed()
        if can.system_role is False and any(turn["role"] == "system" for it in requests for turn in it.messages):
            endpoint = self._client.endpoint
            raise ModelError(
                f"{endpoint.address.url}: model {endpoint.model!r} leaves system messages out, expected them to be "
                "read; put the instructions into the question"
            )
        ended = self._client.ask_all([_within(can, request) for request in requests], on_reply)
        self._facts[SERVER] |= {name: self._facts[SERVER].get(name, 0) + n for name, n in tally(ended).items()}
        return ended

    def _probed(self) -> Capabilities:
        if self._can is None:
            self._can = probe(self._client.endpoint)
            endpoint = self._client.endpoint
            self._facts[SERVER] = {"model": endpoint.model, "probe": self._can.to_json(), "slots": endpoint.slots}
        return self._can


def _within(can: Capabilities, request: ChatRequest) -> ChatRequest:
    """Return the request without what the server refuses to be told."""
    return replace(request, seed=None) if can.seed is False else request
