"""How many bytes it takes to answer a batch: the model, the keys and values of its rows, and what a step computes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tunelab.models.architecture import Architecture
from tunelab.models.device import Device, Precision, wide_amd
from tunelab.models.footprint import (
    BYTES,
    MOST_PACKED,
    PACKED,
    Lengths,
    Parts,
    cached_elements,
    four_bit_bytes,
    largest_matrix,
    weight_bytes,
    with_fragments,
)

LARGEST_PASS, STEP = 4096, 64
"""Tokens of prompts that our engine reads at a time, and by which its rows' room grows."""
WIDEST = 8
"""How many times as many rows as a batch has our engine draws at most."""
GREEDY, SAMPLED = 12, 48
"""Bytes that a row's next token takes per word of the vocabulary: logits and their fp32 copies, or the sorted fp64
distribution that a draw inverts."""


@dataclass(frozen=True)
class Answering:
    """A model that is loaded to answer: by text of at most ``lengths.answer`` tokens, or from its prompts alone.

    Labels are taken to differ at their first token; where they are read whole, a prompt is read once for each.
    """

    model: Architecture
    precision: Precision
    device: Device
    batch_size: int
    lengths: Lengths
    sampled: bool = False
    adapter: int = 0
    """Parameters of an adapter."""
    four_bit: Mapping[str, Any] | None = None
    """Settings of weights of 4 bits, where they are."""
    engine: bool = False
    """Whether our engine answers."""

    def phases(self) -> list[Parts]:
        """Return the parts at each moment."""
        weights = self._weights() + BYTES["fp32"] * self.adapter
        batch = Batch(self.batch_size, self.lengths, self.sampled, self.engine)
        moments = drawing(self.model, self.precision, batch)
        always = {"weights": weights, "copies": self._copies()}
        return [{**always, **with_fragments(moment, self.device)} for moment in moments]

    def _copies(self) -> int:
        if not self.engine or not self.lengths.answer:
            return 0
        return copies(self.model, self.precision, self.device, self.four_bit is not None)

    def _weights(self) -> int:
        if self.four_bit is None:
            return weight_bytes(self.model, self.precision)
        multiplied = largest_matrix(self.model) * BYTES[self.four_bit["compute"]]
        return four_bit_bytes(self.model, self.precision, self.four_bit) + multiplied


@dataclass(frozen=True)
class Batch:
    """Rows that are answered together; of every prompt there are so many ``copies``."""

    rows: int
    lengths: Lengths
    sampled: bool
    packed: bool = False
    """Whether our engine answers: it reads what prompts share, and equal ones, once, and no more than a bounded number
    of tokens at a time."""
    copies: int = 1

    @property
    def own(self) -> int:
        """Tokens of a prompt that its row keeps for itself."""
        return self.lengths.prompt - self.lengths.shared if self.packed else self.lengths.prompt

    @property
    def read(self) -> int:
        """Tokens of prompts that are read in one pass."""
        if not self.packed:
            return self.rows * self.own
        return min(-(-self.rows // self.copies) * self.own, max(LARGEST_PASS, self.own, self.lengths.shared))


def copies(model: Architecture, precision: Precision, device: Device, four_bit: bool = False) -> int:
    """Return the bytes of weights that our engine lays out anew to draw (``models.products``): of 4 bits the head's."""
    if device != "cpu" or precision != "fp32" or not wide_amd():
        return 0
    layers = [] if four_bit else list(model.linears.values())
    sizes = [rows * columns for rows, columns in [*layers, (model.vocabulary, model.hidden)]]
    held = BYTES["fp32"] * sum(size for size in sizes if size >= PACKED)
    return held if held <= MOST_PACKED else 0


def drawing(model: Architecture, precision: Precision, batch: Batch) -> list[Parts]:
    """Return what a batch takes beside the weights when its prompts are read, and when its last tokens are drawn.

    Nothing is cached where no text is written, but for what prompts share.
    """
    size, lengths = BYTES[precision], batch.lengths
    if batch.packed and lengths.answer:
        token = _cached(model, 1, 0, True) * size
        own = model.vocabulary * SAMPLED + (batch.own + lengths.answer) * token
        batch = replace(batch, rows=widened(batch.rows, lengths.shared * token, own))
    words = batch.rows * model.vocabulary * (SAMPLED if batch.sampled else GREEDY)
    prefix = lengths.shared * _cached(model, 1, 0, batch.packed) * size if batch.packed else 0
    activations = batch.read * reading(model, lengths.prompt, precision)
    if not lengths.answer:
        return [{"cache": prefix, "logits": words, "activations": activations}]
    read, written = (batch.rows * _cached(model, batch.own, made, batch.packed) * size for made in (0, lengths.answer))
    grown = math.ceil(written * (1 + 1 / model.layers))  # a layer's is copied to grow
    return [
        {"cache": prefix + read, "logits": words, "activations": activations},
        {"cache": prefix + grown, "logits": words},
    ]


def widened(rows: int, shared: int, own: int) -> int:
    """Return how many rows our engine draws at a time: as many as have room where ``rows`` whole texts would have it.

    ``shared`` are the bytes of what all begin with, which it holds once, ``own`` those of a row besides.
    """
    return int(rows * min(WIDEST, (shared + own) / own))


def _cached(model: Architecture, prompt: int, made: int, packed: bool) -> int:
    """Return the elements that a row keeps; slots grow by steps, and keep what a window no longer sees."""
    if not packed:
        return cached_elements(model, prompt, made)
    tokens = -(-(prompt + made) // STEP) * STEP if made else prompt
    return 2 * model.kv_heads * model.head_dim * model.layers * tokens


def reading(model: Architecture, tokens: int, precision: Precision) -> int:
    """Return the bytes per token that one layer holds while it reads rows of so many tokens, without gradients."""
    size = BYTES[precision]
    pairs = model.heads * tokens * 2 * BYTES["fp32"] if model.family.eager or model.encoder_layers else tokens * size
    return (3 * model.intermediate + 3 * model.hidden) * size + model.hidden * BYTES["fp32"] + pairs
