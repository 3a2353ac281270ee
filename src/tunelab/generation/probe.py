"""What a server can do, asked of it before the first request: servers of one interface differ, and say so badly.

Four requests of one token each. A server that cannot be asked at all is an error here, before a study has waited for
it; what it can or cannot do is a fact for the record. An answer without log-probabilities to a request for them, or
one that counts no token for a system message, means that the server leaves out silently what it was asked for.

How many requests a server works on at once is not asked: the first may load the model, equal prompts may come from a
cache, and a queue looks like slow work. That is a setting of the endpoint (``slots``).
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from openai import AsyncOpenAI

from tunelab.errors import ModelError, StepError, nearest
from tunelab.generation.attempt import Completion, Setback, listed
from tunelab.generation.endpoint import ChatRequest, Endpoint, EndpointClient, run

_USER = {"role": "user", "content": "Say yes."}
_SYSTEM = {"role": "system", "content": "You are brief."}
_PLAIN = ChatRequest([_USER], max_new_tokens=1)
_BUSY = (408, 409, 429)
_NEAREST = 5


@dataclass(frozen=True)
class Capabilities:
    """What a server did with a request for each; None where it could not be found out.

    ``listed`` is None where the server lists no models. ``seed`` says that one is accepted, not that it is obeyed.
    """

    listed: bool | None
    system_role: bool | None
    seed: bool | None
    logprobs: bool | None
    nearest: tuple[str, ...] = ()
    """Up to five models of a server that does not list this one, the name most like it first."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON, for the facts of a record; ``nearest`` is there where the model is not listed."""
        found = {name: value for name, value in asdict(self).items() if name != "nearest"}
        return {**found, "nearest": list(self.nearest)} if self.listed is False else found


def probe(endpoint: Endpoint) -> Capabilities:
    """Ask for a token in four ways.

    Raises StepError where the server cannot be reached, and ModelError where it does not serve the model.
    """
    patience = replace(endpoint.patience, attempts=min(endpoint.patience.attempts, 3))
    client = EndpointClient(replace(endpoint, patience=patience))
    return run(lambda: _probe(client))


async def _probe(client: EndpointClient) -> Capabilities:
    endpoint = client.endpoint
    async with client.connected() as connection:
        names = await listed(connection, endpoint.patience.timeout)
        plain = await _serves(client, connection, names)
        system, seed, logprobs = await asyncio.gather(
            _did(client, connection, replace(_PLAIN, messages=[_SYSTEM, _USER]), lambda it: _is_longer(it, plain)),
            _did(client, connection, replace(_PLAIN, seed=1), lambda it: True),
            _did(client, connection, replace(_PLAIN, extra={"logprobs": True}), _has_logprobs),
        )
    if names is None or endpoint.model in names:
        return Capabilities(None if names is None else True, system, seed, logprobs)
    nearest_first = difflib.get_close_matches(endpoint.model, names, n=_NEAREST, cutoff=0)
    return Capabilities(False, system, seed, logprobs, tuple(nearest_first))


async def _serves(client: EndpointClient, connection: AsyncOpenAI, names: list[str] | None) -> Completion:
    """Return the answer to a plain request: whether the server answers counts, not whether it lists the model."""
    outcome, attempts = await client.complete(connection, client.body(_PLAIN))
    url, model = client.endpoint.address.url, client.endpoint.model
    if isinstance(outcome, Completion):
        return outcome
    if outcome.may_pass:
        often = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        raise StepError(
            f"{url}: got no answer in {often} ({outcome.reason}), expected a server; do start it, or correct the "
            "address"
        )
    hint = nearest(model, names) if names else ""
    raise ModelError(f"{url}: model {model!r}: got {outcome.reason}, expected an answer{hint}")


async def _did(
    client: EndpointClient, connection: AsyncOpenAI, request: ChatRequest, obeyed: Callable[[Completion], bool]
) -> bool | None:
    outcome, _ = await client.complete(connection, client.body(request))
    if isinstance(outcome, Setback):
        return None if outcome.status is None or outcome.status in _BUSY else False
    return obeyed(outcome)


def _is_longer(outcome: Completion, plain: Completion) -> bool:
    """Say whether a prompt has more tokens than the plain one; where the server counts none, that it was accepted."""
    counts = [it.usage.prompt_tokens if it.usage else None for it in (plain, outcome)]
    return counts[0] is None or counts[1] is None or counts[1] > counts[0]


def _has_logprobs(outcome: Completion) -> bool:
    return bool(outcome.choices[0].logprobs)
