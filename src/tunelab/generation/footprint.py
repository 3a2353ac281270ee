"""How many bytes it takes to answer a batch: the model, the keys and values of its rows, and what a step computes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunelab.models.architecture import Architecture
from tunelab.models.device import Device, Precision
from tunelab.models.footprint import (
    BYTES,
    Lengths,
    Parts,
    cached_elements,
    four_bit_bytes,
    largest_matrix,
    weight_bytes,
    with_fragments,
)

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

    def phases(self) -> list[Parts]:
        """Return the parts at each moment."""
        weights = self._weights() + BYTES["fp32"] * self.adapter
        moments = drawing(self.model, self.precision, self.batch_size, self.lengths, self.sampled)
        return [{"weights": weights, **with_fragments(moment, self.device)} for moment in moments]

    def _weights(self) -> int:
        if self.four_bit is None:
            return weight_bytes(self.model, self.precision)
        multiplied = largest_matrix(self.model) * BYTES[self.four_bit["compute"]]
        return four_bit_bytes(self.model, self.precision, self.four_bit) + multiplied


def drawing(model: Architecture, precision: Precision, batch: int, lengths: Lengths, sampled: bool) -> list[Parts]:
    """Return what a batch takes beside the weights when its prompts are read, and when its last tokens are drawn.

    Nothing is cached where no text is written.
    """
    read, written = (cached_elements(model, lengths.prompt, made) for made in (0, lengths.answer))
    words = batch * model.vocabulary * (SAMPLED if sampled else GREEDY)
    reads = {"cache": batch * read * BYTES[precision] if lengths.answer else 0, "logits": words}
    reads["activations"] = batch * lengths.prompt * reading(model, lengths.prompt, precision)
    if not lengths.answer:
        return [reads]
    grown = math.ceil(batch * written * BYTES[precision] * (1 + 1 / model.layers))  # a layer's is copied to grow
    return [reads, {"cache": grown, "logits": words}]


def reading(model: Architecture, tokens: int, precision: Precision) -> int:
    """Return the bytes per token that one layer holds while it reads rows of so many tokens, without gradients."""
    size = BYTES[precision]
    pairs = model.heads * tokens * 2 * BYTES["fp32"] if model.family.eager or model.encoder_layers else tokens * size
    return (3 * model.intermediate + 3 * model.hidden) * size + model.hidden * BYTES["fp32"] + pairs
