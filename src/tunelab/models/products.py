"""Matrix products of linear layers by oneDNN, where torch's own library for them is slow.

On a CPU torch multiplies by MKL. On AMD's processors with AVX-512 that is less than half as fast as oneDNN, which
comes with torch as well (measured: ``docs/performance.md``). Layers of a loaded model are told to multiply by it,
forwards and backwards, in fp32; everything else of them stays as it is. The sums are the same in another order.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tunelab.models.device import wide_amd
from tunelab.models.footprint import MOST_PACKED

SMALL = 1 << 24
"""Multiplications of a product below which too little is gained: the first of every shape costs 0.2 ms more."""
PACKED = 1 << 16
"""Numbers of a weight from which on it pays to lay it out anew."""


@cache
def faster() -> bool:
    """Say whether oneDNN is the faster library here: on an AMD processor with AVX-512, in a torch that has both."""
    has_both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    return has_both and torch.backends.cpu.get_cpu_capability() == "AVX512" and wide_amd()


def transposed_product(left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return ``left @ right.T + bias``, (..., inner) by (rows, inner), in fp32 on a CPU. No gradient goes through."""
    return torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")


def linear(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return what a linear layer does, by the faster library. No gradient goes through it."""
    if _suits(states, weight) and states.numel() * len(weight) >= SMALL:
        return transposed_product(states, weight, bias)
    return functional.linear(states, weight, bias)


def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return ``left @ right`` of two matrices by the faster library. No gradient goes through it."""
    return linear(left, right.t())


def _suits(one: torch.Tensor, other: torch.Tensor) -> bool:
    on_cpu = one.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    return on_cpu and one.dtype == other.dtype == torch.float32 and faster()


class _Product(torch.autograd.Function):
    """The product of a linear layer, of matrices, and its gradients."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(states, weight)
        return transposed_product(states, weight, bias)

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (states, weight), [slopes] = ctx.saved_tensors, outer
        of_states = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_states = transposed_product(slopes, weight.t())
        if ctx.needs_input_grad[1]:
            of_weight = transposed_product(slopes.t(), states.t())
        if ctx.needs_input_grad[2]:
            of_bias = slopes.sum(0)
        return of_states, of_weight, of_bias


class Linear(nn.Linear):
    """A linear layer that multiplies by oneDNN. ``packed`` is its weight laid out for it, while it is."""

    packed: torch.Tensor | None = None

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the same as any linear layer."""
        if self.packed is not None and not torch.is_grad_enabled():
            return transposed_product(input, self.packed, self.bias)
        if not _suits(input, self.weight) or input.numel() * self.out_features < SMALL:
            return super().forward(input)
        made = _Product.apply(input.reshape(-1, self.in_features), self.weight, self.bias)
        return made.view(*input.shape[:-1], self.out_features)


def multiply_faster(model: nn.Module) -> None:
    """Let a model's plain linear layers on a CPU multiply by oneDNN, where that is faster. They stay linear layers."""
    if faster():
        for module in model.modules():
            if type(module) is nn.Linear and module.weight.device.type == "cpu":
                module.__class__ = Linear


def packed_weights(model: nn.Module) -> dict[Linear, torch.Tensor]:
    """Return the weights of the layers above as products with few rows read them fastest; nothing where they are many.

    They are copies: who changes a weight has to make them anew.
    """
    layers = [m for m in model.modules() if isinstance(m, Linear) and m.weight.numel() >= PACKED and _whole(m)]
    if sum(layer.weight.nbytes for layer in layers) > MOST_PACKED:
        return {}
    return {layer: torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), 16) for layer in layers}


def _whole(layer: Linear) -> bool:
    return layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu"


@contextmanager
def multiplying(packed: Mapping[Linear, torch.Tensor]) -> Generator[None]:
    """Let layers multiply by these copies of their weights, and by the weights afterwards."""
    try:
        for layer, weight in packed.items():
            layer.packed = weight
        yield
    finally:
        for layer in packed:
            layer.packed = None
