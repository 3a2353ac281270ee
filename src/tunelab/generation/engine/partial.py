"""Attention over a part of the keys, and the sum of such parts.

A softmax over several sets of keys is the mean of the softmaxes over each, weighted by their normalisers. So every
part returns its output and the logarithm of its normaliser (log-sum-exp), and parts add up in any order (the
recurrence of online softmax, Milakov & Gimelshein 2018; for a shared prefix, Juravsky et al. 2024). Keys that many
rows share are then read once for all of them and copied for none.

Shapes: ``query`` (batch, heads, queries, width), ``key`` and ``value`` (batch, heads, keys, width); an output is like
its query, a log-sum-exp is (batch, heads, queries), in fp32 or better. Query heads that share keys are queries here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

LARGEST = 1 << 24
"""Scores that are held at a time: 64 MiB in fp32."""

ALIGNED = 16
"""Bytes to which CUDA's kernel wants a query's numbers aligned, and keys to which it wants rows of a mask aligned."""

Part = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Scores:
    """How a model turns products of queries and keys into scores."""

    scale: float
    softcap: float | None = None


@dataclass(frozen=True)
class Mask:
    """``seen`` says which keys a query sees, and broadcasts to (batch, heads, queries, keys).

    ``whole`` says that every query sees one key at least, ``dtype`` is that of the queries.
    """

    seen: torch.Tensor
    whole: bool
    dtype: torch.dtype

    @cached_property
    def added(self) -> torch.Tensor:
        """The same as numbers to add to scores."""
        *outer, keys = self.seen.shape
        room = keys if self.seen.device.type == "cpu" else -(-keys // ALIGNED) * ALIGNED
        zeros = torch.zeros(*outer, room, dtype=self.dtype, device=self.seen.device)[..., :keys]
        return zeros.masked_fill_(~self.seen, -torch.inf)

    def repeated(self, times: int) -> Mask:
        """Return it for queries that come so many times, one after another."""
        return replace(self, seen=self.seen.repeat(1, 1, times, 1))


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scores: Scores, seen: Mask | None) -> Part:
    """Return output and log-sum-exp; zeros and minus infinity where a query sees no key."""
    if has_kernel(query, value, scores) and (seen is None or seen.whole):
        added = None if seen is None else seen.added.expand(*query.shape[:3], key.shape[2])
        return _kernel(query, key, value, False, added, scores.scale)
    pieces = max(1, -(-query[..., 0].numel() * key.shape[2] // LARGEST))
    rows = -(-query.shape[2] // pieces)
    made = [
        _by_hand(query[:, :, at : at + rows], key, value, scores, None if seen is None else _rows(seen.seen, at, rows))
        for at in range(0, query.shape[2], rows)
    ]
    return made[0] if len(made) == 1 else (torch.cat([m[0] for m in made], 2), torch.cat([m[1] for m in made], 2))


def attend_causally(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scores: Scores, window: int | None
) -> Part:
    """Return the same where query i sees keys 0 to i, of these the last ``window``."""
    length = key.shape[2]
    if has_kernel(query, value, scores) and (window is None or window >= length):
        return _kernel(query, key, value, True, None, scores.scale)
    at = torch.arange(length, device=key.device)
    seen = at <= at[:, None]
    seen = seen if window is None else seen & (at > at[:, None] - window)
    return attend(query, key, value, scores, Mask(seen[None, None], True, query.dtype))


def mixed(one: Part, other: Part) -> torch.Tensor:
    """Return the output of attention over the keys of both parts. Every query must see a key of ``one``."""
    weight = torch.sigmoid(one[1] - other[1])[..., None]
    return other[0].to(weight.dtype).lerp(one[0].to(weight.dtype), weight)


def added(one: Part, other: Part) -> Part:
    """Return what attention over the keys of both parts is, under the same condition."""
    return mixed(one, other), torch.logaddexp(one[1], other[1])


def _kernel(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, causal: bool, bias: torch.Tensor | None, scale: float
) -> Part:
    if query.device.type == "cpu":
        flash: Any = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        return flash(query, key, value, 0.0, causal, attn_mask=bias, scale=scale)
    efficient: Any = torch.ops.aten._scaled_dot_product_efficient_attention
    output, sums, *_ = efficient(query, key, value, bias, True, 0.0, causal, scale=scale)
    return output, sums[..., : query.shape[2]]  # its rows of sums are longer, for alignment


def has_kernel(query: torch.Tensor, value: torch.Tensor, scores: Scores) -> bool:
    """Say whether a kernel of torch computes this and its normalisers: on a CPU or CUDA, without a soft cap."""
    if scores.softcap is not None or query.shape[-1] != value.shape[-1]:
        return False
    if query.device.type == "cuda":
        return query.shape[-1] * query.element_size() % ALIGNED == 0 and query.dtype != torch.float64
    return query.device.type == "cpu"


def _by_hand(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scores: Scores, seen: torch.Tensor | None
) -> Part:
    """Compute in fp32 at least: half-precision scores would lose what a kernel keeps."""
    exact = torch.promote_types(query.dtype, torch.float32)
    found = torch.matmul(query.to(exact) * scores.scale, key.to(exact).transpose(-1, -2))
    if scores.softcap is not None:
        found = scores.softcap * torch.tanh(found / scores.softcap)
    if seen is not None:
        found = found.masked_fill_(~seen, -torch.inf)
    top = found.amax(-1, keepdim=True).clamp(min=torch.finfo(exact).min)
    weights = (found - top).exp_()
    total = weights.sum(-1, keepdim=True)
    output = torch.matmul(weights, value.to(exact)) / total.clamp(min=torch.finfo(exact).tiny)
    return output, (top + total.log())[..., 0]


def _rows(seen: torch.Tensor, at: int, rows: int) -> torch.Tensor:
    return seen if seen.shape[-2] == 1 else seen[..., at : at + rows, :]
