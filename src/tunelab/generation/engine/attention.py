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
from tunelab.generation.engine.last_layer import Attended
from tunelab.generation.engine.partial import Mask, Part, Scores, added, attend, attend_causally, has_kernel, mixed
from tunelab.generation.engine.reading import Block, Reading
from tunelab.generation.engine.rectangles import ONE_BY_ONE, attend_to_parents, attend_within

NAME = "tunelab_engine"
"""Not that of packed rows in training, ``models.packed_attention``: both may be at work in one process."""
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
    if reading.attended is not None:
        return reading.attended, None
    if reading.windows is not None:
        reading.windows[module.layer_idx] = sliding_window
    layer = Layer(reading, module.layer_idx, Scores(scaling or query.shape[-1] ** -0.5, softcap), sliding_window)
    query, key = query.to(value.dtype), key.to(value.dtype)  # autocast leaves norms and rotations in fp32
    output = layer.attend(query[0], key[0], value[0]).to(query.dtype)
    made = output.transpose(0, 1)[None]
    if reading.trim is None:
        return made, None
    reading.attended = made.index_select(1, reading.trim)
    raise Attended


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
        parts = self._slots(query[:, :rows], key[:, :rows], value[:, :rows]) if rows else []
        if reading.spans:
            parts.append(self._new(query, key, value))
        own = joined(parts)
        prefix = self._prefix(query)
        return own[0] if prefix is None else mixed(own, prefix)

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

    def _slots(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> list[Part]:
        """Keep the drawing rows' new keys, and attend over their slots, block by block."""
        reading = self._reading
        assert reading.slots is not None
        keys, values = reading.slots.of(self._index, key, value)
        written = reading.written(key.shape[0])
        for kept, new in ((keys, key), (values, value)):
            kept.view(-1, kept.shape[-1]).index_copy_(0, written, new.transpose(0, 1).reshape(-1, kept.shape[-1]))
        heads, _, width = query.shape
        asked = query.transpose(0, 1).reshape(-1, key.shape[0], heads // key.shape[0], width)
        return [self._block(block, asked[block.start : block.end], keys, values) for block in reading.blocks]

    def _block(self, block: Block, asked: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> Part:
        """Attend over a block's slots. ``asked`` is (rows, heads with keys, queries of each, width)."""
        slots = slice(block.slot, block.slot + len(asked))
        key, value = keys[slots, :, : block.tokens], values[slots, :, : block.tokens]
        seen = self._reading.seen_of_slots(block, self._window, asked)
        output, normaliser = attend(asked, key, value, self._scores, seen)
        return output.flatten(1, 2).transpose(0, 1), normaliser.flatten(1, 2).transpose(0, 1)

    def _new(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Part:
        """Attend within the new sequences, over their parents where they are branches, and keep those with a slot."""
        reading, rows = self._reading, self._reading.rows
        within = self._one_by_one if reading.device.type in ONE_BY_ONE else self._in_rectangles
        output, normaliser = within(query, key, value)
        if reading.slotted:
            assert reading.slots is not None
            tokens, where = reading.kept_at(key.shape[0])
            for held, new in zip(reading.slots.of(self._index, key, value), (key, value), strict=True):
                held.view(-1, held.shape[-1]).index_copy_(0, where, new[:, tokens].reshape(-1, held.shape[-1]))
        return output[:, rows:], normaliser[:, rows:]

    def _in_rectangles(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Part:
        """Attend in few calls."""
        output, normaliser = attend_within(
            query, *self._repeated(query, key, value), self._reading.rectangles, self._scores, self._window
        )
        if not self._reading.branching:
            return output, normaliser
        if not self._reading.sees_parents(self._window):
            return self._over_parents(query, key, value, (output, normaliser))
        families = self._reading.families
        at = families.branches.tokens
        more = attend_to_parents(query, key, value, families, self._scores)
        output[:, at], normaliser[:, at] = added((output[:, at], normaliser[:, at]), more)
        return output, normaliser

    def _one_by_one(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Part:
        return self._over_parents(query, key, value, self._causal(query, key, value))

    def _over_parents(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, own: Part) -> Part:
        """Let each sequence's branches see it besides."""
        output, normaliser = own
        for branching in self._reading.branching:
            branches, parent = (
                slice(branching.start, branching.end),
                slice(branching.parent_start, branching.parent_end),
            )
            seen = self._reading.seen_of_parent(branching, self._window, query)
            more = self._dense(query[:, branches], key[:, parent], value[:, parent], seen)
            output[:, branches], normaliser[:, branches] = added((output[:, branches], normaliser[:, branches]), more)
        return output, normaliser

    @staticmethod
    def _repeated(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values for each head that asks."""
        groups = query.shape[0] // key.shape[0]
        return (key, value) if groups == 1 else (key.repeat_interleave(groups, 0), value.repeat_interleave(groups, 0))

    def _causal(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Part:
        """Attend within each sequence and branch; with torch's kernel one by one, else those of one length together."""
        key, value = self._repeated(query, key, value)
        exact = torch.promote_types(query.dtype, torch.float32)
        output = query.new_empty(*query.shape[:2], value.shape[-1], dtype=exact)
        normaliser = query.new_empty(query.shape[:2], dtype=exact)
        reading = self._reading
        apart = has_kernel(query, value, self._scores)
        for at in [slice(*span) for span in reading.spans] if apart else reading.alike:
            one, other, third = (t[None, :, at] if apart else t[:, at].transpose(0, 1) for t in (query, key, value))
            made, sums = attend_causally(one, other, third, self._scores, self._window)
            output[:, at] = made[0] if apart else made.transpose(0, 1)
            normaliser[:, at] = sums[0] if apart else sums.transpose(0, 1)
        return output, normaliser


def joined(parts: Sequence[Part]) -> Part:
    """Return parts of different queries as one."""
    if len(parts) == 1:
        return parts[0]
    return torch.cat([output for output, _ in parts], 1), torch.cat([normaliser for _, normaliser in parts], 1)


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
