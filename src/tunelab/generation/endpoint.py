"""A model behind an OpenAI-compatible server: requests in, replies out, each request accounted for.

A request ends as a ``Reply`` or as ``Unanswered`` with a reason; it is never dropped and never answered twice. What
may pass (a busy server, a lost connection, half a reply) is tried again; what concerns the request alone leaves it
unanswered; what concerns all of them (the key, the model) stops the run.

The client library's own retries are switched off: they bound no request as a whole, wait for a slow reply from byte
to byte, take no reply that breaks off in its JSON for a failure, and give up on a Retry-After above two minutes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import httpx
from anyio.from_thread import start_blocking_portal
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from tunelab.errors import StepError
from tunelab.generation.address import Address, find_address
from tunelab.generation.attempt import Completion, Setback, Usage, attempt
from tunelab.generation.retries import Patience

T = TypeVar("T")
HEADERS = ("host", "connection", "accept", "accept-encoding", "content-type", "content-length", "user-agent",
           "authorization")  # fmt: skip
"""What a request to a server tells; more goes to OpenAI's own only."""
LIBRARY = "x-stainless-"
"""Begins the names of what the client library tells of itself, and reads back to find the raw response."""

_BUDGET = {"api.openai.com": "max_completion_tokens"}
"""The field of the token budget where it is not max_tokens: that server refuses the older name for its newer models."""


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
    """What the model said. ``finish`` is the server's word: stop, length, content_filter; "" where it says none.

    Numbers of tokens are the server's, None where it counts none; ``attempts`` includes the one that succeeded.
    """

    text: str
    finish: str
    prompt_tokens: int | None
    output_tokens: int | None
    attempts: int = 1


@dataclass(frozen=True)
class Unanswered:
    """A request that ended without a reply: why, after how many attempts, and whether asking again later may help."""

    reason: str
    attempts: int = 1
    may_pass: bool = True


OnReply = Callable[[int, Reply | Unanswered], None]


@dataclass(frozen=True)
class Endpoint:
    """Which model is asked where, with ``slots`` requests at a time. Nothing made of this shows the key."""

    address: Address
    model: str
    slots: int = 4
    patience: Patience = field(default_factory=Patience)

    @classmethod
    def find(cls, model: str, url: str | None = None, slots: int = 4) -> Endpoint:
        """Return the endpoint at ``url``, or at the address in the environment; the key is the environment's."""
        return cls(find_address(url), model, slots)


class EndpointClient:
    """Asks one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._random = random.Random()
        self._silences = 0

    def ask_all(self, requests: Sequence[ChatRequest], on_reply: OnReply | None = None) -> list[Reply | Unanswered]:
        """Return what became of each request, in their order.

        ``on_reply(index, ended)`` is called once a request, as it ends, one call at a time. Raises ModelError when
        the server knows no such model, refuses the key or has no quota left, and StepError when it has fallen silent;
        what had ended by then has been handed to ``on_reply``. An interrupt cuts no such call.
        """
        self._silences = 0
        return run(lambda: self._ask_all(requests, on_reply or (lambda index, ended: None)))

    async def _ask_all(self, requests: Sequence[ChatRequest], on_reply: OnReply) -> list[Reply | Unanswered]:
        ended: dict[int, Reply | Unanswered] = {}
        waiting = enumerate(requests)

        async def serve(client: AsyncOpenAI) -> None:
            for index, request in waiting:
                ended[index] = await self._ask(client, request)
                on_reply(index, ended[index])
                self._stop_where_silent(ended[index])

        async with self.connected() as client:
            await _all_of(serve(client) for _ in range(min(self.endpoint.slots, len(requests))))
        return [ended[index] for index in range(len(requests))]

    async def _ask(self, client: AsyncOpenAI, request: ChatRequest) -> Reply | Unanswered:
        completion, attempts = await self.complete(client, self.body(request))
        if isinstance(completion, Setback):
            return Unanswered(completion.reason, attempts, completion.may_pass)
        return _reply(completion, attempts)

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Return what is posted for a request."""
        host = urlsplit(self.endpoint.address.url).hostname or ""
        return {
            "model": self.endpoint.model,
            "messages": [dict(message) for message in request.messages],
            "temperature": request.temperature,
            _BUDGET.get(host, "max_tokens"): request.max_new_tokens,
            **({} if request.seed is None else {"seed": request.seed}),
            **({"extra_body": dict(request.extra)} if request.extra else {}),
        }

    async def complete(self, client: AsyncOpenAI, body: Mapping[str, Any]) -> tuple[Completion | Setback, int]:
        """Ask until there is a completion or patience ends; return how it ended, and the number of attempts."""
        endpoint, clock = self.endpoint, asyncio.get_running_loop().time
        patience, attempts, end = endpoint.patience, 0, clock() + endpoint.patience.deadline
        while True:
            outcome = await attempt(client, endpoint.address, body, min(patience.timeout, max(0.0, end - clock())))
            attempts += 1
            if isinstance(outcome, Completion) or not outcome.may_pass:
                return outcome, attempts
            wait = patience.wait(attempts, outcome.asked_wait, self._random.random())
            if attempts >= patience.attempts or clock() + wait >= end:
                return outcome, attempts
            await asyncio.sleep(wait)

    def _stop_where_silent(self, ended: Reply | Unanswered) -> None:
        """Raise StepError when many requests in a row had no reply: the server is gone, not one request unlucky."""
        self._silences = self._silences + 1 if isinstance(ended, Unanswered) and ended.may_pass else 0
        if self._silences >= self.endpoint.patience.silences:
            raise StepError(
                f"{self.endpoint.address.url}: got no reply to {self._silences} requests in a row (the last: "
                f"{cast(Unanswered, ended).reason}), expected some; do look at the server and run again: what is "
                "answered is kept"
            )

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[AsyncOpenAI]:
        """Give the library's client for the running event loop; its connections end with the block."""
        address = self.endpoint.address
        # A proxy that the environment names cannot reach the servers of this machine.
        hooks = {} if address.is_openai else {"request": [_without_foreign_headers]}
        transport = DefaultAsyncHttpxClient(trust_env=not address.is_loopback, timeout=None, event_hooks=hooks)
        async with AsyncOpenAI(
            base_url=address.url,
            api_key=address.bearer,
            # OPENAI_CUSTOM_HEADERS would go before the key.
            default_headers={"Authorization": f"Bearer {address.bearer}"},
            max_retries=0,
            timeout=None,
            http_client=transport,
        ) as client:
            yield client


async def _without_foreign_headers(request: httpx.Request) -> None:
    """Take off what OpenAI's variables add (organisation, project, OPENAI_CUSTOM_HEADERS): it belongs to its server."""
    foreign = [name for name in request.headers if name.lower() not in HEADERS and not name.lower().startswith(LIBRARY)]
    for name in foreign:
        del request.headers[name]


def run(function: Callable[[], Awaitable[T]]) -> T:
    """Run an asynchronous function to its end, in a thread of its own where an event loop runs already (a notebook)."""

    async def main() -> T:
        return await function()

    if not _loop_is_running():
        return asyncio.run(main())
    with start_blocking_portal() as portal:
        return portal.call(main)


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _all_of(awaited: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Wait for all; the first error ends the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in awaited:
                group.create_task(one)
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


def _reply(completion: Completion, attempts: int) -> Reply:
    choice, usage = completion.choices[0], completion.usage or Usage()
    text = choice.message.content if choice.message.content is not None else choice.message.refusal
    return Reply(text or "", choice.finish_reason or "", usage.prompt_tokens, usage.completion_tokens, attempts)


def tally(ended: Iterable[Reply | Unanswered]) -> dict[str, int]:
    """Return what a run took, for the facts of a record; a token that the server did not count is not in the sums."""
    several = list(ended)
    replies = [one for one in several if isinstance(one, Reply)]
    return {
        "answered": len(replies),
        "unanswered": len(several) - len(replies),
        "attempts": sum(one.attempts for one in several),
        "prompt_tokens": sum(one.prompt_tokens or 0 for one in replies),
        "output_tokens": sum(one.output_tokens or 0 for one in replies),
    }
