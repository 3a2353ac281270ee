"""How text is drawn from a model, and what comes back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


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
    """One draw for one prompt. ``sample`` is the draw's index: draws of one prompt never share an identity."""

    id: str
    sample: int
    prompt: str
    ids: list[int]


@dataclass(frozen=True)
class Output:
    """One generated answer.

    ``finish`` is ``stop`` (the model ended its turn), ``stop_string`` or ``length`` (the budget ran out).
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
