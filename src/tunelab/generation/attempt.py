"""One attempt at one request: what a server can do with it, sorted by what helps.

    a completion              done
    may pass                  408, 409, 429, 5xx, no reply in time, a lost connection, a body that is no completion
    concerns this request     any other 4xx: too long a prompt, a setting that the server does not know
    concerns every request    401, 403, 404, no quota left: ModelError

Text of the server is shortened, and shown without the key that it may repeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from openai import APIConnectionError, APIStatusError, AsyncOpenAI, OpenAIError
from pydantic import BaseModel, Field, ValidationError

from tunelab.errors import ModelError, nearest
from tunelab.generation.address import Address
from tunelab.generation.retries import retry_after

_MAY_PASS = (408, 409, 429)
_LONGEST_MESSAGE = 200


class Message(BaseModel):
    """What the model said: nothing, where the server withholds it, or its refusal in a field of its own."""

    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    """One continuation."""

    message: Message
    finish_reason: str | None = None
    logprobs: Any = None


class Usage(BaseModel):
    """Numbers of tokens."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Completion(BaseModel):
    """The part of a chat completion that is read here."""

    choices: list[Choice] = Field(min_length=1)
    usage: Usage | None = None


@dataclass(frozen=True)
class Setback:
    """An attempt that gave no completion. ``status`` is HTTP's, where there was a response."""

    reason: str
    may_pass: bool
    status: int | None = None
    asked_wait: float | None = None


async def attempt(
    client: AsyncOpenAI, address: Address, body: Mapping[str, Any], seconds: float
) -> Completion | Setback:
    """Post ``body`` once, and wait ``seconds`` for the last byte. Raises ModelError for what concerns every request."""
    try:
        async with asyncio.timeout(seconds):
            response = await client.chat.completions.with_raw_response.create(**body)
    except TimeoutError:
        return Setback(f"no reply within {seconds:.3g} s", may_pass=True)
    except APIStatusError as error:
        return await _refused(client, address, str(body["model"]), error)
    except APIConnectionError as error:
        return Setback(f"connection: {type(error.__cause__ or error).__name__}", may_pass=True)
    try:
        return Completion.model_validate_json(response.content)
    except ValidationError:
        text = _short(address.scrub(response.text))
        return Setback(f"no chat completion: got {text!r}", may_pass=True, status=response.status_code)


async def listed(client: AsyncOpenAI, seconds: float) -> list[str] | None:
    """Return the names of the models that the server lists; None where it has no list."""
    try:
        async with asyncio.timeout(seconds):
            names = [model.id async for model in client.models.list()]
    except (OpenAIError, TimeoutError, ValueError):
        return None
    return names or None


async def _refused(client: AsyncOpenAI, address: Address, model: str, error: APIStatusError) -> Setback:
    status, said = error.status_code, _short(address.scrub(_message(error.body)))
    if status in (401, 403):
        raise ModelError(
            f"{address.url}: refused the {'key' if address.key else 'request without a key'} ({status}), expected one "
            "that may use it; set LMSTUDIO_API_KEY or OPENAI_API_KEY beside the address"
        ) from None
    if status == 404:
        names = await listed(client, seconds=10)
        hint = nearest(model, names) if names else f"; it said: {said}"
        raise ModelError(f"{address.url}: no model {model!r} (404), expected a model of the server{hint}") from None
    if error.code == "insufficient_quota":
        raise ModelError(f"{address.url}: no quota left, expected a paid account; it said: {said}") from None
    return Setback(
        f"HTTP {status}: {said}",
        may_pass=status in _MAY_PASS or status >= 500,
        status=status,
        asked_wait=retry_after(error.response.headers.get("retry-after")),
    )


def _message(body: object) -> str:
    """Return the sentence in an error's body, which servers keep under different names."""
    if not isinstance(body, dict):
        return str(body or "nothing")
    fields = cast(dict[str, object], body)
    return str(next((fields[name] for name in ("message", "detail", "error") if fields.get(name)), fields))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[: _LONGEST_MESSAGE - 1]}…"
