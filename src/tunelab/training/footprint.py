"""How many bytes a training takes, from its recipe and from what the model is made of; nothing is loaded.

A training has moments of different needs: the end of a forward pass, the update, and under GRPO the drawing of
completions. Each is counted by its parts, and the largest decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tunelab.generation.footprint import Batch, copies, drawing
from tunelab.models.activations import Pass
from tunelab.models.architecture import Architecture
from tunelab.models.device import Device, Precision
from tunelab.models.footprint import (
    BYTES,
    HANDED_BACK,
    OF_PACKED,
    TILE,
    Lengths,
    Parts,
    Shape,
    adapted,
    adapter_parameters,
    four_bit_bytes,
    largest_matrix,
    weight_bytes,
    with_fragments,
)
from tunelab.training.recipe import Recipe
from tunelab.training.sizes import largest_divisor, rows_per_step, weights_precision

FP32 = BYTES["fp32"]
MOMENTS = 2
"""Running means that AdamW keeps of every trained weight, in fp32 (Loshchilov and Hutter 2019)."""
PADDED_TILE = (4096, 32768)
"""Tokens and words of which TRL computes logits at a time; it never makes those of all tokens."""
COPIES = 7
"""What is made of a tile beside it: without a GPU's kernel, which works in place, each operation makes a copy."""
PACKED_COPIES = 3
"""The logits of our own tile, their shares of a word each, and these rounded or a cap's slope."""
LOGITS = 4
"""Copies of an encoder-decoder model's logits: as they are, in fp32, as log-probabilities, and their gradient."""


@dataclass(frozen=True)
class Training:
    """A training as a machine carries it out; ``lengths`` are those of the longest row."""

    model: Architecture
    recipe: Recipe
    precision: Precision
    device: Device
    micro_batch_size: int
    gradient_checkpointing: bool
    drawn_together: int
    lengths: Lengths
    packed: bool = False
    """Whether rows lie end to end, or completions behind the prompt that they share; logits are of learnt tokens."""
    may_checkpoint: bool = False
    """Whether gradient checkpointing is switched on where it has to be; ``gradient_checkpointing`` is then off."""
    engine: bool = False
    """Whether our engine draws completions."""
    judges: int = 0
    """Bytes of the judges that are loaded beside, to reward completions."""

    def phases(self) -> list[Parts]:
        """Return the parts at each moment."""
        matrices = self._adapted()
        trained = adapter_parameters(matrices, self.recipe.lora.rank) if matrices else self.model.parameters
        always = self._always(trained if matrices else 0)
        optimizer, gradients = {"optimizer": MOMENTS * FP32 * trained}, {"gradients": FP32 * trained}
        accumulated = gradients if rows_per_step(self.recipe) > self.rows else {}
        found = [{**always, **optimizer, **accumulated, **self._passing(self._forward(matrices))}]
        if self.gradient_checkpointing:
            found.append({**always, **optimizer, **gradients, **self._again(self._forward(matrices))})
        found.append({**always, **optimizer, **gradients})
        if self.recipe.method == "grpo":
            found += [{**always, **optimizer, **moment} for moment in self._drawing()]
        return found

    @property
    def rows(self) -> int:
        """Rows of a forward pass, as the trainer is told."""
        return largest_divisor(rows_per_step(self.recipe), self.micro_batch_size)

    def _adapted(self) -> dict[str, Shape]:
        found = adapted(self.model, self.recipe.lora.targets) if self.recipe.adapter else {}
        assert found is not None  # targets that are not known are said before
        return found

    def _always(self, adapter: int) -> Parts:
        """What lies there from beginning to end: the weights, an adapter, and the untouched weights to compare with."""
        weights = weights_precision(self.recipe, self.precision)
        held = weight_bytes(self.model, weights)
        if self.recipe.adaptation == "qlora":
            settings = self.recipe.qlora.identity()
            multiplied = largest_matrix(self.model) * BYTES[settings["compute"]]
            held = four_bit_bytes(self.model, weights, settings) + multiplied
        copies = self.model.parameters * BYTES["bf16"] if self._autocasts() else 0
        compared = self.recipe.method == "dpo" or (self.recipe.method == "grpo" and self.recipe.grpo.beta > 0)
        reference = weight_bytes(self.model, weights) if compared and not self.recipe.adapter else 0
        weights_of = {"weights": held + copies, "adapter": FP32 * adapter, "reference": reference}
        return {**weights_of, "judges": self.judges}

    def _autocasts(self) -> bool:
        """Whether every weight is also there in bf16, to be multiplied."""
        return self.precision == "bf16" and not self.recipe.adapter

    def _passing(self, forward: Pass) -> Parts:
        """What comes and goes with a forward pass, when its logits are made."""
        kept = forward.checkpoints() if self.gradient_checkpointing else forward.kept() + forward.working()
        return self._with_fragments({"activations": kept, "logits": self._head()})

    def _again(self, forward: Pass) -> Parts:
        """What there is when a layer is computed again on the way back."""
        one = forward.computed_again() + forward.working()
        return self._with_fragments({"activations": forward.checkpoints() + one})

    def _with_fragments(self, passing: Parts) -> Parts:
        whole = self._lies_packed and not self._shares and not self.recipe.adapter
        part = HANDED_BACK if self.gradient_checkpointing else OF_PACKED if whole else 1.0
        return with_fragments(passing, self.device, part)

    def _forward(self, matrices: dict[str, Shape]) -> Pass:
        encoded = self.model.kind == "encoder-decoder"
        lora = self.recipe.lora
        return Pass(
            model=self.model,
            adaptation=self.recipe.adaptation,
            precision=self.precision,
            rows=self._sequences,
            tokens=self.lengths.prompt if encoded else self.lengths.row,
            answer=self.lengths.answer if encoded else 0,
            adapted=lora.rank * len(matrices),
            dropped=sum(width for _, width in matrices.values()) if lora.dropout else 0,
            in_place=(self.device, self.precision, self.recipe.adaptation) == ("cpu", "fp32", "lora"),
            packed=self._lies_packed,
            beginnings=self._prompts if self._shares else 0,
            prompt=self.lengths.prompt if self._shares else 0,
        )

    @property
    def _lies_packed(self) -> bool:
        """Completions whose activations are computed again are padded."""
        return self.packed and not (self.recipe.method == "grpo" and self.gradient_checkpointing)

    @property
    def _shares(self) -> bool:
        return self._lies_packed and self.recipe.method == "grpo"

    @property
    def _prompts(self) -> int:
        """The most prompts whose completions meet in a pass: they stand together, but where the loss goes by passes."""
        if self.recipe.grpo.loss_type == "bnpo":
            return min(self.rows, self.recipe.batch_size)
        group = self.recipe.grpo.num_generations
        begun = group - math.gcd(group, self.rows)  # rows of a prompt that the pass before has at most
        return min(self.recipe.batch_size, math.ceil((begun + self.rows) / group))

    @property
    def _learnt(self) -> int:
        """Tokens of a row that have logits."""
        if self._lies_packed and (self._shares or self.recipe.loss == "completion"):
            return self.lengths.answer
        return self.lengths.row

    @property
    def _sequences(self) -> int:
        """A pair of DPO is two."""
        return self.rows * (2 if self.recipe.method == "dpo" else 1)

    def _head(self) -> int:
        """The logits of what is learnt, with the gradients of the head's input and weight."""
        if self.recipe.head == "classifier":
            return 0
        if self.model.kind == "encoder-decoder":
            return LOGITS * self._sequences * self.lengths.answer * self.model.vocabulary * FP32
        tokens, vocabulary = self._sequences * self._learnt, self.model.vocabulary
        weight = 0 if self.recipe.adapter else vocabulary * self.model.hidden
        gradients = FP32 * (tokens * self.model.hidden + weight)
        if self._lies_packed and not self._shares:
            return PACKED_COPIES * min(TILE, FP32 * tokens * vocabulary) + gradients
        return min(tokens, PADDED_TILE[0]) * self._tile() + gradients

    def _tile(self) -> int:
        """Bytes of a token's logits: a buffer that is always whole, or as much of it as is written, with copies."""
        size = BYTES[self.precision]
        if self.device == "cuda":
            return size * PADDED_TILE[1]
        return (size + FP32 * COPIES) * min(self.model.vocabulary, PADDED_TILE[1])

    def _drawing(self) -> list[Parts]:
        batch = min(self.drawn_together, rows_per_step(self.recipe))
        weights = weights_precision(self.recipe, self.precision)
        batch = Batch(batch, self.lengths, sampled=True, packed=self.engine, copies=self.recipe.grpo.num_generations)
        four_bit = self.recipe.adaptation == "qlora"
        packed = copies(self.model, self.precision, self.device, four_bit) if self.engine else 0
        moments = drawing(self.model, weights, batch)
        return [{"copies": packed, **with_fragments(moment, self.device)} for moment in moments]
