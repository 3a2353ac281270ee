"""Rollouts through vLLM in the training process: the prompts and the ends of our own generator, vLLM's draws.

The engine is TRL's, which copies the policy's weights into it before every step, adapters merged. Prompts go in as
the renderer's ids, and completions are cut where ``LocalGenerator`` would have ended them. The draws are not keyed by
sample, so a resumed run visits the same prompts as an undisturbed one and draws anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunelab.generation.decoding import Request
from tunelab.generation.local import LocalGenerator


@dataclass(frozen=True)
class Drawn:
    """New ids by request, and their log-probabilities where the engine that drew them is not the trained model."""

    ids: list[list[int]]
    logprobs: list[list[float]] | None = None


def sampling(stop_ids: set[int]) -> dict[str, Any]:
    """Return what vLLM must know besides the recipe; a seed would make all completions of a group equal."""
    return {"stop_token_ids": sorted(stop_ids)}


def draw(engine: Any, batch: Sequence[Request], generator: LocalGenerator) -> Drawn:
    """Return what the engine draws for a batch; ``engine`` is ``trl.generation.vllm_generation.VLLMGeneration``.

    It returns, of every token, the log-probabilities of the likeliest ones: here of the drawn one alone.
    """
    _, made, logprobs, _ = engine.generate(prompts=[r.ids for r in batch], images=None, num_generations=1)
    rows: list[list[int]] = [list(row) for row in made]
    ends = [generator.end(request, row) for request, row in zip(batch, rows, strict=True)]
    return Drawn(
        [row[:end] for row, end in zip(rows, ends, strict=True)],
        [[token[0] for token in row[:end]] for row, end in zip(logprobs, ends, strict=True)],
    )
