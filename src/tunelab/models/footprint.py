"""How many bytes weights, adapters and caches take, from what a model is made of; nothing is loaded."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tunelab.models.architecture import Architecture, Shape
from tunelab.models.device import Device, Precision

Parts = dict[str, int]
"""Bytes by what they are for."""

BYTES: dict[Precision, int] = {"fp32": 4, "bf16": 2}
TILE = 64 << 20
"""Bytes of the logits that training without padding makes at a time: small ones stay near the processor, and large
ones multiply faster."""
BLOCK, BLOCKS_TOGETHER = 64, 256
"""Weights of 4 bits that share a scale, and scales that share one where these are quantised too."""
PACKED, MOST_PACKED = 1 << 16, 1 << 30
"""Numbers of a weight from which on drawing lays it out anew, on a processor where that is faster, and the most bytes
of such copies."""
FRAGMENTS: dict[Device, float] = {"cpu": 0.6, "cuda": 0.0, "mps": 0.0}
"""Share of what comes and goes that lies between it, freed and too small to be used again. Measured on a CPU with
glibc (``scripts/bench_memory.py``); nothing was measured on a GPU."""
OF_PACKED, HANDED_BACK = 2 / 3, 1 / 2
"""How much of that share there is where rows lie end to end and all weights are trained, and where large blocks are
handed back when they are freed."""


@dataclass(frozen=True)
class Lengths:
    """Tokens of the longest prompt, of the longest answer, and of the longest row that has both."""

    prompt: int
    answer: int
    row: int
    shared: int = 0
    """Tokens that all prompts begin with, as far as they are known."""

    def within(self, tokens: int) -> Lengths:
        """Return what is left of them when nothing is longer than so many tokens."""
        return Lengths(min(self.prompt, tokens), min(self.answer, tokens), min(self.row, tokens), self.shared)


def weight_bytes(model: Architecture, precision: Precision) -> int:
    """Return the bytes of all weights in one precision."""
    return model.parameters * BYTES[precision]


def four_bit_bytes(model: Architecture, precision: Precision, weights: Mapping[str, Any]) -> int:
    """Return the bytes of weights whose linear layers are of 4 bits, half a byte and a share of a scale (Dettmers et
    al. 2023, section 3), while all else is in ``precision``.

    T5's second matrix of an MLP stays as it is: transformers keeps it in fp32.
    """
    kept = [shape for name, shape in model.linears.items() if not name.endswith("DenseReluDense.wo")]
    scale = 1 + 4 / BLOCKS_TOGETHER if weights["double_quant"] else 4
    quantised = _elements(kept)
    return math.ceil(quantised * (1 / 2 + scale / BLOCK)) + (model.parameters - quantised) * BYTES[precision]


def largest_matrix(model: Architecture) -> int:
    """Return the elements of the largest linear layer: so much is multiplied out of 4 bits at a time."""
    return max(rows * columns for rows, columns in model.linears.values())


def adapted(model: Architecture, targets: Literal["all-linear"] | Collection[str]) -> dict[str, Shape] | None:
    """Return the matrices that an adapter is put on; None where a target names none that is known."""
    if isinstance(targets, str):
        return model.linears
    found = {t: {n: s for n, s in model.matrices.items() if f".{n}".endswith(f".{t}")} for t in targets}
    return {n: s for matched in found.values() for n, s in matched.items()} if all(found.values()) else None


def adapter_parameters(matrices: Mapping[str, Shape], rank: int) -> int:
    """Return an adapter's parameters: by each matrix one to the rank and one back from it (Hu et al. 2021)."""
    return rank * sum(rows + columns for rows, columns in matrices.values())


def cached_elements(model: Architecture, prompt: int, made: int) -> int:
    """Return the elements of keys and values that a row keeps after ``made`` tokens behind a prompt.

    A layer with a window keeps one token less than it looks back at. T5's decoder keeps its own, and the encoder's.
    """
    if model.kind == "encoder-decoder":
        tokens = model.layers * (prompt + made)
    else:
        tokens = sum(min(prompt + made, window - 1) if window else prompt + made for window in model.windows)
    return 2 * model.kv_heads * model.head_dim * tokens


def with_fragments(passing: Parts, device: Device, part: float = 1.0) -> Parts:
    """Return parts that come and go with what lies between them, of which there is so large a ``part``."""
    return {**passing, "fragments": math.ceil(part * FRAGMENTS[device] * sum(passing.values()))}


def _elements(shapes: Collection[Shape]) -> int:
    return sum(rows * columns for rows, columns in shapes)
