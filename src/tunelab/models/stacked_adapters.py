"""Several LoRA adapters over one base in one forward pass: each adds to its own part of the tokens.

Every adapter stays on a model of its own, whose weights are the base's, so that it is made, trained and saved as if it
were alone. The tokens of all lie end to end, as packed rows do: the base is computed once over all of them, and of a
linear layer's output each part gets the low-rank product of its own adapter. Ranks and adapted layers may differ. The
gradients are independent of each other, since no token sees another part.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate, chain, pairwise
from typing import Any

import torch

from tunelab.models.supervised_head import Learnt, logits_of, supervised_loss

Slices = list[slice]


def sharing_weights(base: Any) -> Any:
    """Return a model with modules of its own over the very weights and buffers of another."""
    kept = {id(tensor): tensor for tensor in chain(base.parameters(), base.buffers())}
    return copy.deepcopy(base, kept)


class Stack:
    """Computes the losses of adapted models, each of its own packed batch, in one pass of the base."""

    def __init__(self, base: Any, adapted: Sequence[Any]) -> None:
        """Each of ``adapted`` is PEFT's model over one that ``sharing_weights`` made of ``base``.

        Raises ValueError for an adapter that is not plain LoRA on linear layers.
        """
        self._base, self._parts = base, [slice(0)]
        self._layers: dict[str, list[Any]] = {}
        for place, model in enumerate(adapted):
            for name, layer in _adapted_layers(model).items():
                self._layers.setdefault(name, [None] * len(adapted))[place] = layer
        self._logits = logits_of(base.config)

    def losses(self, batches: Sequence[Mapping[str, Any]], divisors: Sequence[torch.Tensor]) -> list[Learnt]:
        """Return the loss of each adapter's batch, its sum over tokens divided by the adapter's divisor.

        A batch is (1, tokens): ``input_ids``, ``labels``, ``position_ids``, and ``sequence_lengths``. The base must
        compute packed attention.
        """
        ends = [0, *accumulate(batch["input_ids"].shape[1] for batch in batches)]
        self._parts = [slice(start, end) for start, end in pairwise(ends)]
        joined = {name: torch.cat([batch[name] for batch in batches], dim=1) for name in ("input_ids", "position_ids")}
        lengths = [length for batch in batches for length in batch["sequence_lengths"]]
        with self._hooked():
            hidden = self._base.base_model(**joined, sequence_lengths=lengths, use_cache=False).last_hidden_state
        head = self._base.get_output_embeddings()
        return [
            supervised_loss(hidden[:, part], batch["labels"], head, self._logits, divisor)
            for part, batch, divisor in zip(self._parts, batches, divisors, strict=True)
        ]

    @contextmanager
    def _hooked(self) -> Generator[None]:
        hooks = [
            self._base.get_submodule(name).register_forward_hook(self._adding(layers))
            for name, layers in self._layers.items()
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _adding(self, layers: Sequence[Any]) -> Callable[..., torch.Tensor]:
        names = [layer and layer.active_adapters[0] for layer in layers]
        known = [(layer, name) for layer, name in zip(layers, names, strict=True) if layer]
        weights = [m[name].weight for layer, name in known for m in (layer.lora_A, layer.lora_B)]
        scales = [layer and layer.scaling[name] for layer, name in zip(layers, names, strict=True)]

        def add(module: Any, args: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
            return _Added.apply(output, args[0], self._parts, scales, *weights)

        return add


def _adapted_layers(model: Any) -> dict[str, Any]:
    """Return the layers that an adapter is on, by their names in the base."""
    from tunelab.models.lora_layers import LoraLayer, is_plain

    found = {name: layer for name, layer in model.get_base_model().named_modules() if isinstance(layer, LoraLayer)}
    for name, layer in found.items():
        if not is_plain(layer):
            raise ValueError(f"{name} has an adapter of another kind than plain LoRA on a linear layer")
    return found


class _Added(torch.autograd.Function):
    """Adds s B (A x) to parts of a layer's output, in its place; x, A and B are those of each part."""

    @staticmethod
    def forward(
        ctx: Any,
        output: torch.Tensor,
        inputs: torch.Tensor,
        parts: Slices,
        scales: Sequence[float | None],
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        states, found, remaining, low = inputs.flatten(0, -2), output.flatten(0, -2), iter(weights), []
        for part, scale in zip(parts, scales, strict=True):
            if scale is not None:
                low.append(states[part] @ next(remaining).t())
                found[part].addmm_(low[-1], next(remaining).t(), alpha=scale)
        ctx.save_for_backward(inputs, *low, *weights)
        ctx.parts, ctx.scales = parts, scales
        ctx.mark_dirty(output)
        return output

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> Any:
        inputs, *saved = ctx.saved_tensors
        number = len(saved) // 3
        low, weights = iter(saved[:number]), iter(saved[number:])
        states, slopes = inputs.flatten(0, -2), outer[0].flatten(0, -2)
        of_states = torch.zeros_like(states) if ctx.needs_input_grad[1] else None
        of_weights: list[torch.Tensor] = []
        for part, scale in zip(ctx.parts, ctx.scales, strict=True):
            if scale is None:
                continue
            down, up = next(weights), next(weights)
            back = (slopes[part] @ up).mul_(scale)
            of_weights += [back.t() @ states[part], (slopes[part].t() @ next(low)).mul_(scale)]
            if of_states is not None:
                torch.mm(back, down, out=of_states[part])
        return outer[0], None if of_states is None else of_states.view_as(inputs), None, None, *of_weights
