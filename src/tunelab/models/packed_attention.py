"""Attention over sequences that lie end to end in one row, each of which sees itself alone, or a beginning that several
share: no padding is computed, and nothing twice.

It is registered with transformers, so every architecture that asks its configuration for an attention function can use
it. Sliding window and softcap arrive by the arguments that transformers passes to flash attention, so what knows flash
attention can be packed; the lengths of the sequences are an argument of the model that it hands on. On a CPU sequences
are attended to one after the other, which gives to the bit what a padded batch does; elsewhere in one rectangle, as
many small kernels cost more there than a little padding.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from typing import Any

import torch
from torch.nn.functional import dropout as drop
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "tunelab_packed"

Branches = Sequence[tuple[int, Sequence[int]]]
"""Tokens of a beginning, and of each branch that goes on from it."""


@contextmanager
def packed_attention(model: Any) -> Generator[None]:
    """Let a model compute packed attention, forwards and backwards, and what it computed before afterwards."""
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def without_packing(model: Any) -> str | None:
    """Return why a causal model cannot compute packed attention, or None where it may."""
    config = model.config.get_text_config()
    unlike = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if unlike:
        return f"{config.model_type} has {', '.join(sorted(unlike))} layers"
    if not (model._supports_flash_attn and model._supports_attention_backend and model._can_set_attn_implementation()):
        return f"{config.model_type} has attention of its own"
    if hasattr(config, "output_router_logits"):
        return f"{config.model_type} has routed experts"
    return None


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    *,
    sequence_lengths: Sequence[int] | None = None,
    branches: Branches | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **ignored: Any,
) -> tuple[torch.Tensor, None]:
    """Attend causally within sequences of ``sequence_lengths`` tokens, which lie end to end; all are one without it.

    With ``branches``, a beginning lies before its branches, which see it and themselves.
    ``query`` is (1, heads, tokens, width), ``key`` and ``value`` may have fewer heads. Returns (1, tokens, heads,
    width).
    """
    settings = {"scaling": scaling, "dropout": dropout, "window": sliding_window, "softcap": softcap}
    if branches:
        return _branching(query, key, value, branches, settings), None
    each = _one_by_one if query.device.type == "cpu" else _in_a_rectangle
    return each(query, key, value, tuple(sequence_lengths or query.shape[2:3]), settings), None


def _one_by_one(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: tuple[int, ...], settings: dict[str, Any]
) -> torch.Tensor:
    parts = zip(*(states.split(list(lengths), dim=2) for states in (query, key, value)), strict=True)
    return torch.cat([_causal(*part, **settings).transpose(1, 2) for part in parts], dim=1)


def _branching(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, branches: Branches, settings: dict[str, Any]
) -> torch.Tensor:
    lengths = [tokens for beginning, ends in branches for tokens in (beginning, *ends)]
    parts = iter(zip(*(states.split(lengths, dim=2) for states in (query, key, value)), strict=True))
    found: list[torch.Tensor] = []
    for _, ends in branches:
        asked, keys, values = next(parts)
        found.append(_causal(asked, keys, values, **settings))
        for own_query, own_key, own_value in islice(parts, len(ends)):
            seen = torch.cat([keys, own_key], dim=2), torch.cat([values, own_value], dim=2)
            found.append(_causal(own_query, *seen, **settings))
    return torch.cat([part.transpose(1, 2) for part in found], dim=1)


def _in_a_rectangle(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: tuple[int, ...], settings: dict[str, Any]
) -> torch.Tensor:
    """Attend in one batch that is padded on the right, which nothing before it sees."""
    rows, longest = len(lengths), max(lengths)
    places = _places(lengths, query.device)

    def spread(states: torch.Tensor) -> torch.Tensor:
        _, heads, _, width = states.shape
        empty = states.new_zeros(rows * longest, heads, width)
        return empty.index_copy(0, places, states[0].transpose(0, 1)).view(rows, longest, heads, width).transpose(1, 2)

    found = _causal(spread(query), spread(key), spread(value), **settings)
    return found.transpose(1, 2).flatten(0, 1)[places][None]


@lru_cache(maxsize=1)
def _places(lengths: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Return where the tokens are in a rectangle, which is the same in every layer."""
    return torch.cat([torch.arange(length) + row * max(lengths) for row, length in enumerate(lengths)]).to(device)


def _causal(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    scaling: float | None,
    dropout: float,
    window: int | None,
    softcap: float | None,
) -> torch.Tensor:
    """Attend causally in a batch, (rows, heads, tokens, width), to the ``window`` latest tokens where one is given.

    Queries are those of the last tokens that have keys.
    """
    asked, tokens = query.shape[2], key.shape[2]
    plain = asked == tokens and not softcap and (window or tokens) >= tokens
    seen = None if plain else _window(asked, tokens, window, query.device)
    if softcap:
        return _capped(query, key, value, seen, scaling, dropout, softcap)
    return scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=seen,
        dropout_p=dropout,
        is_causal=seen is None,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _window(asked: int, tokens: int, window: int | None, device: torch.device) -> torch.Tensor:
    """Say of each of the last ``asked`` tokens which it sees, itself among them."""
    distance = torch.arange(tokens - asked, tokens, device=device)[:, None] - torch.arange(tokens, device=device)
    return (distance >= 0) & (distance < (window or tokens))


def _capped(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    seen: torch.Tensor | None,
    scaling: float | None,
    dropout: float,
    softcap: float,
) -> torch.Tensor:
    """Attend with scores that a tanh keeps below ``softcap``, which no kernel of PyTorch knows (Gemma 2, 2024)."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = torch.tanh(scores / softcap) * softcap
    if seen is not None:
        scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    return drop(weights, p=dropout) @ value


AttentionInterface.register(NAME, attend)
