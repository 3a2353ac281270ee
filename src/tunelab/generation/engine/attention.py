"""The one attention function of the engine, for every model of transformers that takes its attention from outside.

A model's own code computes queries, keys and values, rotates them, and says how it scales, caps and windows; here
it is decided which keys a packed token sees, and they are kept where the next pass will need them. The function gets
the pass as the keyword ``packed_reading``, which the models hand down.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface

from tunelab.errors import ModelError
from tunelab.generation.engine.partial import Mask, Part, Scores, added, attend, attend_causally
from tunelab.generation.engine.reading import Reading

NAME = "tunelab_engine"
READING = "packed_reading"
UNKNOWN = ("s_aux", "sinks", "position_bias", "cu_seq_lens_q")
"""What some models hand to attention and this one does not compute."""


def packed_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as the pass says. ``query`` (1, heads, tokens, width); the output is (1, tokens, heads, width).

    Raises ModelError for a model that asks for what is not computed here.
    """
    reading: Reading | None = others.get(READING)
    if reading is None or attention_mask is not None or any(others.get(name) is not None for name in UNKNOWN):
        raise ModelError(f"{type(module).__name__}: needs another attention than over packed tokens; use plain")
    if reading.windows is not None:
        reading.windows[module.layer_idx] = sliding_window
    layer = Layer(reading, module.layer_idx, Scores(scaling or query.shape[-1] ** -0.5, softcap), sliding_window)
    output = layer.attend(query[0], key[0], value[0]).to(query.dtype)
    return output.transpose(0, 1)[None], None


AttentionInterface.register(NAME, packed_attention)


class Layer:
    """Attention of one layer in one pass."""

    def __init__(self, reading: Reading, index: int, scores: Scores, window: int | None) -> None:
        self._reading = reading
        self._index = index
        self._scores = scores
        self._window = window

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Return (heads, tokens, width) for queries like it and keys and values of as many heads or fewer."""
        reading, rows = self._reading, self._reading.rows
        if reading.kept is not None:
            reading.kept.write(self._index, key, value)
        parts = [self._slots(query[:, :rows], key[:, :rows], value[:, :rows])] if rows else []
        if reading.spans:
            parts.append(self._new(query, key, value))
        own = (
            parts[0] if len(parts) == 1 else (torch.cat([p[0] for p in parts], 1), torch.cat([p[1] for p in parts], 1))
        )
        prefix = self._prefix(query)
        return own[0] if prefix is None else added(own, prefix)[0]

    def _prefix(self, query: torch.Tensor) -> Part | None:
        """Attend over the prefix; None where it is out of sight."""
        prefix, first = self._reading.prefix, self._reading.first_seen(self._window)
        if prefix is None or first >= prefix.length:
            return None
        key, value = (kept[:, first:] for kept in prefix.layers[self._index])
        return self._dense(query, key, value, self._reading.seen_of_prefix(self._window, query))

    def _dense(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: Mask | None) -> Part:
        """Attend over keys that all queries share; heads that share keys are queries of one head."""
        heads, tokens, width = query.shape
        groups = heads // key.shape[0]
        folded = query.reshape(1, key.shape[0], groups * tokens, width)
        if seen is not None and groups > 1:
            seen = seen.repeated(groups)
        output, normaliser = attend(folded, key[None], value[None], self._scores, seen)
        return output.reshape(heads, tokens, -1), normaliser.reshape(heads, tokens)

    def _slots(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Part:
        """Keep the drawing rows' new keys, and attend over their slots."""
        reading = self._reading
        assert reading.slots is not None
        keys, values = reading.slots.of(self._index, key, value)
        keys[reading.used, :, reading.lengths] = key.transpose(0, 1)
        values[reading.used, :, reading.lengths] = value.transpose(0, 1)
        slots, tokens = reading.reach
        heads, rows, width = query.shape
        asked = query.reshape(key.shape[0], -1, rows, width).permute(2, 0, 1, 3)
        if not reading.is_dense:
            asked = asked.new_zeros(slots, *asked.shape[1:]).index_copy_(0, reading.used, asked)
        seen = reading.seen_of_slots(self._window, query)
        made = attend(asked, keys[:slots, :, :tokens], values[:slots, :, :tokens], self._scores, seen)
        output, normaliser = made if reading.is_dense else (made[0][reading.used], made[1][reading.used])
        return (
            output.permute(1, 2, 0, 3).reshape(heads, rows, -1),
            normaliser.permute(1, 2, 0).reshape(heads, rows),
        )

    def _new(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Part:
        """Attend within the new sequences, over their parents where they are branches, and keep those with a slot."""
        reading, rows = self._reading, self._reading.rows
        output, normaliser = self._causal(query, key, value)
        for branching in reading.branching:
            branches, parent = (
                slice(branching.start, branching.end),
                slice(branching.parent_start, branching.parent_end),
            )
            seen = reading.seen_of_parent(branching, self._window, query)
            more = self._dense(query[:, branches], key[:, parent], value[:, parent], seen)
            output[:, branches], normaliser[:, branches] = added((output[:, branches], normaliser[:, branches]), more)
        for start, end, slot in reading.slotted:
            assert reading.slots is not None
            keys, values = reading.slots.of(self._index, key, value)
            keys[slot, :, : end - start], values[slot, :, : end - start] = key[:, start:end], value[:, start:end]
        return output[:, rows:], normaliser[:, rows:]

    def _causal(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Part:
        groups = query.shape[0] // key.shape[0]
        key, value = key.repeat_interleave(groups, 0), value.repeat_interleave(groups, 0)
        exact = torch.promote_types(query.dtype, torch.float32)
        output = query.new_empty(*query.shape[:2], value.shape[-1], dtype=exact)
        normaliser = query.new_empty(query.shape[:2], dtype=exact)
        for at in self._reading.alike:
            one, other, third = (t[:, at].transpose(0, 1) for t in (query, key, value))
            made, sums = attend_causally(one, other, third, self._scores, self._window)
            output[:, at], normaliser[:, at] = made.transpose(0, 1).to(exact), sums.transpose(0, 1).to(exact)
        return output, normaliser


def configurations(model: Any) -> list[Any]:
    """Return the configurations that say which attention the modules of a model use."""
    found = {
        id(c): c for m in model.modules() if hasattr(c := getattr(m, "config", None), "_attn_implementation_internal")
    }
    return list(found.values())


@contextmanager
def attending(configs: Sequence[Any]) -> Generator[None]:
    """Let the models of these configurations attend as the engine does, and as before afterwards."""
    before = [config._attn_implementation_internal for config in configs]
    try:
        for config in configs:
            config._attn_implementation_internal = NAME
        yield
    finally:
        for config, name in zip(configs, before, strict=True):
            config._attn_implementation_internal = name
