"""How text is drawn from a model or an answer is chosen, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

DRAWS = 2
"""Version of what a random number means: which token it draws from a distribution."""


@dataclass(frozen=True)
class Decoding:
    """``temperature`` 0 is greedy. ``samples`` draws are made per prompt, each with its own random stream."""

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    samples: int = 1
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON: part of a generate step's identity."""
        return asdict(self)


@dataclass(frozen=True)
class Request:
    """One draw for one prompt. ``sample`` is the draw's index: draws of one prompt never share an identity.

    ``stops`` end it besides those of the generator, and ``budget`` where its own is smaller than the generator's:
    requests of several tasks share a batch.
    """

    id: str
    sample: int
    prompt: str
    ids: list[int]
    stops: tuple[str, ...] = field(default=(), kw_only=True)
    budget: int | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class ChoiceRequest(Request):
    """One prompt with the labels to choose from, in label order.

    ``label_ids`` has the ids of each label as an answer to this prompt, without the end of the turn; it is empty
    where a classifier's head answers.
    """

    labels: tuple[str, ...]
    label_ids: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Output:
    """One answer.

    ``finish`` is ``stop`` (the model ended its turn), ``stop_string``, ``length`` (the budget ran out), or
    ``choice``.
    """

    id: str
    sample: int
    prompt: str
    output: str
    prompt_tokens: int
    output_tokens: int
    finish: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON: a row of ``outputs.jsonl``."""
        return asdict(self)


@dataclass(frozen=True)
class Chosen(Output):
    """An answer that was chosen. ``logprobs`` has, for each label, what the choice was made by."""

    logprobs: Mapping[str, float] = field(default_factory=dict[str, float])


def chosen(request: ChoiceRequest, values: Sequence[float]) -> Chosen:
    """Return the label of the largest value; the first one of equals."""
    best = max(range(len(values)), key=lambda i: values[i])
    return Chosen(
        id=request.id,
        sample=request.sample,
        prompt=request.prompt,
        output=request.labels[best],
        prompt_tokens=len(request.ids),
        output_tokens=0,
        finish="choice",
        logprobs=dict(zip(request.labels, values, strict=True)),
    )
