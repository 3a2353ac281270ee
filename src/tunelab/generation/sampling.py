"""Sampling whose draws do not depend on the batch.

Each draw uses one uniform number that is a hash of (seed, sample id, draw index, position), and inverts the
cumulative distribution over the vocabulary in its own order: rounding moves the borders between tokens a little, where
an order by probability would swap tokens that are nearly equal. So the same sample draws the same text alone or among
others, up to rounding, and a resumed run draws what an undisturbed one would have drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from transformers import LogitsProcessor

from tunelab.generation.decoding import Decoding, Request

HEAD = 1024
"""Tokens that are looked at first for a nucleus."""


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
    """Return token ids (batch,) drawn from logits (batch, vocabulary) by uniform numbers (batch,) in [0, 1), fp64."""
    exact = torch.promote_types(scores.dtype, torch.float32)
    probabilities = torch.softmax(scores.to(exact) / decoding.temperature, dim=-1)
    if decoding.top_p < 1:
        probabilities = probabilities.masked_fill_(~nucleus(probabilities, decoding.top_p), 0.0)
    cumulative = probabilities.cumsum(dim=-1, dtype=torch.float64)
    total = cumulative[:, -1]
    aims = torch.minimum(draws * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative, aims[:, None], right=True)[:, 0]


def nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Return which tokens are drawn from, (batch, vocabulary): the fewest likeliest ones with mass ≥ top_p.

    Of equally likely ones the first count (Holtzman et al. 2020). The whole vocabulary is sorted only where the
    likeliest ``HEAD`` tokens have less mass.
    """
    ordered = probabilities.topk(min(HEAD, probabilities.shape[1]), dim=-1).values
    if bool((ordered.sum(-1, dtype=torch.float64) < top_p).any()):
        ordered = probabilities.sort(dim=-1, descending=True).values
    before = ordered.cumsum(dim=-1, dtype=torch.float64) - ordered
    count = (before < top_p).sum(-1, keepdim=True)
    least = ordered.gather(1, count - 1)
    likelier, equal = probabilities > least, probabilities == least
    missing = count - likelier.sum(-1, keepdim=True)
    if bool((equal.sum(-1, keepdim=True) > missing).any()):
        equal &= equal.cumsum(-1) <= missing
    return likelier | equal
