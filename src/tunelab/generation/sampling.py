"""Sampling whose draws do not depend on the batch.

Each draw uses one uniform number that is a hash of (seed, sample id, draw index, position), and inverts the
cumulative distribution. So the same sample draws the same text alone or among others, up to rounding, and a
resumed run draws what an undisturbed one would have drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from transformers import LogitsProcessor

from tunelab.generation.decoding import Decoding, Request


def uniform(seed: int, request: Request, position: int) -> float:
    """Return a number in [0, 1) that is fixed by its arguments."""
    key = f"{seed}|{request.id}|{request.sample}|{position}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) / 2**64


class CounterSampler(LogitsProcessor):
    """Leaves only the drawn token, so that the greedy search of transformers picks it."""

    def __init__(self, decoding: Decoding, requests: Sequence[Request], prompt_width: int) -> None:
        self._decoding = decoding
        self._requests = requests
        self._prompt_width = prompt_width

    def __call__(self, input_ids: torch.LongTensor, scores: torch.Tensor) -> torch.FloatTensor:
        """``input_ids`` (batch, width so far), ``scores`` (batch, vocabulary): logits."""
        position = input_ids.shape[1] - self._prompt_width
        draws = [uniform(self._decoding.seed, request, position) for request in self._requests]
        drawn = draw(scores, self._decoding, torch.tensor(draws, device=scores.device, dtype=torch.float64))
        only = torch.full_like(scores, -torch.inf)
        only.scatter_(1, drawn[:, None], 0.0)
        return only  # pyright: ignore[reportReturnType]


def draw(scores: torch.Tensor, decoding: Decoding, draws: torch.Tensor) -> torch.Tensor:
    """Return token ids (batch,) drawn from logits (batch, vocabulary) by uniform numbers (batch,).

    The nucleus of top-p sampling (Holtzman et al. 2020) is the smallest set of likeliest tokens with mass ≥ top_p.
    """
    probabilities = torch.softmax(scores.double() / decoding.temperature, dim=-1)
    ordered, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
    cumulative = ordered.cumsum(dim=-1)
    if decoding.top_p < 1:
        outside = cumulative - ordered >= decoding.top_p
        ordered = ordered.masked_fill(outside, 0.0)
        cumulative = ordered.cumsum(dim=-1)
    index = torch.searchsorted(cumulative, (draws * cumulative[:, -1])[:, None], right=True)
    return tokens.gather(1, index.clamp(max=tokens.shape[1] - 1))[:, 0]
