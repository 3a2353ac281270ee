"""A model behind an OpenAI-compatible server: requests in, replies out, each request accounted for.

A request ends as a ``Reply`` or as ``Unanswered`` with a reason; it is never dropped and never answered twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunelab.generation.address import Address, find_address


@dataclass(frozen=True)
class ChatRequest:
    """One conversation to be continued; ``extra`` goes into the body of the request as it is."""

    messages: Sequence[Mapping[str, str]]
    max_new_tokens: int
    temperature: float = 0.0
    seed: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Reply:
    """What the model said. ``finish`` is the server's word: stop, length, content_filter."""

    text: str
    finish: str
    prompt_tokens: int | None
    output_tokens: int | None
    attempts: int = 1


@dataclass(frozen=True)
class Unanswered:
    """A request that ended without a reply: why, and after how many attempts. It may be asked again later."""

    reason: str
    attempts: int = 1


@dataclass(frozen=True)
class Endpoint:
    """Which model is asked where, ``slots`` requests at a time."""

    address: Address
    model: str
    slots: int = 4

    @classmethod
    def find(cls, model: str, url: str | None = None, slots: int = 4) -> Endpoint:
        """Return the endpoint at ``url``, or at the address in the environment; the key is the environment's."""
        return cls(find_address(url), model, slots)


def _nothing(index: int, reply: Reply | Unanswered) -> None:
    pass


class EndpointClient:
    """Asks one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def ask_all(
        self, requests: Sequence[ChatRequest], on_reply: Callable[[int, Reply | Unanswered], None] = _nothing
    ) -> list[Reply | Unanswered]:
        """Return what became of each request, in their order.

        ``on_reply(index, reply)`` is called once a request, as it ends, in the calling thread where no event loop
        runs there. Raises ModelError when the server knows no such model or refuses the key; what had ended by then
        has been handed to ``on_reply``.
        """
        raise NotImplementedError
