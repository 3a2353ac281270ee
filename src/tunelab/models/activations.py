"""What a forward pass keeps for the backward pass, and what it holds for a moment.

The method is that of Korthikanti et al. 2022, section 4: for every operation of a layer, count what its gradient is
computed from. The counts are those of transformers' modules with the attention that it chooses, compared with what
autograd keeps of them. Widths are per token; a padded batch repeats keys and values for every head, and is assumed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tunelab.models.architecture import Architecture
from tunelab.models.device import Precision
from tunelab.models.footprint import BYTES

Adaptation = Literal["full", "lora", "qlora"]
FP32 = BYTES["fp32"]


@dataclass(frozen=True)
class Pass:
    """One forward pass that is trained on: its rows, and what of them is kept in how many bytes.

    ``precision`` bf16 computes under autocast, where norms and the sums between layers stay fp32.
    """

    model: Architecture
    adaptation: Adaptation
    precision: Precision
    rows: int
    tokens: int
    """Of a row; what the encoder reads, where there is one."""
    answer: int = 0
    """Tokens that a decoder behind an encoder writes."""
    adapted: int = 0
    """Numbers that adapters keep per token, over all layers: its rank for every matrix that has one."""
    dropped: int = 0
    """Width of all that dropout is put on before an adapter, over all layers."""
    in_place: bool = False
    """Whether adapters add in place, and keep a byte of what dropout drops (``models.lora_layers``)."""
    packed: bool = False
    """Whether rows lie end to end, and attention needs no mask."""
    beginnings: int = 0
    """Prompts that completions share, each read once; ``rows`` and ``tokens`` are those of completions with prompts."""
    prompt: int = 0
    """Tokens of such a prompt."""

    @property
    def _size(self) -> int:
        return BYTES[self.precision]

    @property
    def _all(self) -> int:
        """Tokens of the pass."""
        return self.rows * self.tokens - max(0, self.rows - self.beginnings) * self.prompt

    def kept(self) -> int:
        """Return the bytes that all layers keep, with what is before and behind them."""
        return self._layers() + self._ends() + self._adapters()

    def checkpoints(self) -> int:
        """Return the same where every layer keeps only its input."""
        encoder = self.model.encoder_layers * self.rows * self.tokens
        decoder = self.model.layers * (self.rows * self.answer if self.model.encoder_layers else self._all)
        return (encoder + decoder) * self.model.hidden * self._residual + self._ends()

    def computed_again(self) -> int:
        """Return what one layer keeps, which is then computed again."""
        return math.ceil((self._layers() + self._adapters()) / (self.model.layers + self.model.encoder_layers))

    def working(self) -> int:
        """Return what one layer holds beside what is kept: gradients of its widest parts on their way back."""
        wide = 3 * self.model.intermediate + 4 * self.model.hidden
        return max(self._all, self.rows * self.answer) * wide * self._size

    @property
    def _residual(self) -> int:
        """Bytes of an element of the sum that goes from layer to layer: bf16 where the embeddings are."""
        return 2 if self.precision == "bf16" and self.adaptation == "lora" else FP32

    def _layers(self) -> int:
        if self.model.kind == "encoder-decoder":
            return self._of_t5()
        per_token = self._norms() + self._attention() + self._mlp()
        return math.ceil(self.model.layers * (self._all * per_token + self._joined()))

    def _joined(self) -> int:
        """Keys and values of every completion behind a copy of its prompt's."""
        widths = 2 * self.model.kv_heads * self.model.head_dim
        return self.rows * self.tokens * widths * self._size if self.beginnings else 0

    def _norms(self) -> int:
        """A norm keeps its input in fp32, and what it is before its weight where that is trained."""
        family, hidden = self.model.family, self.model.hidden
        return family.norms * hidden * FP32 * (2 if self.adaptation == "full" else 1)

    def _attention(self) -> int:
        model, size = self.model, self._size
        queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
        casts = (1 if model.family.fused else 3) if self.precision == "bf16" else 1
        found = casts * model.hidden * size + 4 * queries * size + model.heads * FP32
        if self.precision == "bf16" and self.adaptation != "full":
            found += queries * size  # the adapter behind the heads reads a copy
        if model.family.norms_of_heads:
            found += (queries + keys) * (FP32 + (size if self.adaptation == "full" else 0))
        return found + self._pairs()

    def _pairs(self) -> int:
        """What is kept for a token with every other: the mask, or where no fused kernel serves, two weights a head."""
        if self.model.family.eager:
            return self.tokens * 2 * FP32 * self.model.heads
        return 0 if self.packed else self.tokens * self._size

    def _mlp(self) -> int:
        model, size = self.model, self._size
        casts = (1 if model.family.fused else 2) if self.precision == "bf16" else 1
        wide = 3 * FP32 + size if self.adaptation == "qlora" else 4 * size  # 4-bit layers answer in what they are asked
        return casts * model.hidden * size + model.intermediate * wide

    def _of_t5(self) -> int:
        """T5 under dropout, with gated MLPs or not, all in fp32: bf16 keeps up to a third less.

        Attention has no fused kernel for a table of distances under dropout: three numbers a head and pair are kept.
        """
        model = self.model
        queries = model.heads * model.head_dim
        dense = (8 if model.gated else 3) * model.intermediate
        norm = (3 if self.adaptation == "full" else 2) * model.hidden + model.hidden
        reads = 2 * norm + 4 * queries + dense + 3 * model.heads * self.tokens
        writes = 3 * norm + 6 * queries + dense + 3 * model.heads * (self.answer + self.tokens)
        crossing = model.layers * 2 * queries * self.tokens
        elements = model.encoder_layers * self.tokens * reads + model.layers * self.answer * writes + crossing
        return self.rows * elements * FP32

    def _ends(self) -> int:
        """The last norm with what it is made of, and what the head reads."""
        return (
            (self._all + self.rows * self.answer) * self.model.hidden * FP32 * (3 if self.adaptation == "full" else 2)
        )

    def _adapters(self) -> int:
        tokens = max(self._all, self.rows * self.answer)
        dropped = self.dropped * (1 if self.in_place else 2 * self._size)
        return tokens * (self._size * self.adapted + dropped)
