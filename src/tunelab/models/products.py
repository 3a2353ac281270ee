"""Matrix products of linear layers by oneDNN, where torch's own library for them is slow.

On a CPU torch multiplies by MKL. On AMD's processors with AVX-512 that is less than half as fast as oneDNN, which
comes with torch as well (measured: ``docs/performance.md``). Layers of a loaded model are told to multiply by it,
forwards and backwards, in fp32; everything else of them stays as it is. The sums are the same in another order.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tunelab.models.device import wide_amd
from tunelab.models.footprint import MOST_PACKED, PACKED

SMALL = 1 << 24
"""Multiplications of a product below which too little is gained: the first of every shape costs 0.2 ms more."""
KEPT = 64
"""Kernels that oneDNN, and torch for it, keep of shapes that they have multiplied. By default they keep 1,024 each, of
2 MiB, and a training has other shapes every step."""
OF_ADAPTERS = {"lora_A", "lora_B"}
"""What PEFT calls the matrices of an adapter."""


@cache
def faster() -> bool:
    """Say whether oneDNN is the faster library here: on an AMD processor with AVX-512, in a torch that has both."""
    has_both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    found = has_both and torch.backends.cpu.get_cpu_capability() == "AVX512" and wide_amd()
    for setting in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY") if found else ():
        os.environ.setdefault(setting, str(KEPT))  # they are read at the first product
    return found


def transposed_product(left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return ``left @ right.T + bias``, (..., inner) by (rows, inner), in fp32 on a CPU. No gradient goes through."""
    return torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")


def linear(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return what a linear layer does, by the faster library. No gradient goes through it."""
    if suits(states, weight) and states.numel() * len(weight) >= SMALL:
        return transposed_product(states, weight, bias)
    return functional.linear(states, weight, bias)


def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return ``left @ right`` of two matrices by the faster library. No gradient goes through it."""
    return linear(left, right.t())


def suits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Say whether oneDNN may multiply these and is faster: of fp32 on a CPU, where nothing rounds them first."""
    on_cpu = one.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    return on_cpu and one.dtype == other.dtype == torch.float32 and faster()


class _Product(torch.autograd.Function):
    """The product of a linear layer, of matrices, and its gradients."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        of_states, of_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(states if of_weight else None, weight if of_states else None)
        return transposed_product(states, weight, bias)

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (states, weight), [slopes] = ctx.saved_tensors, outer
        of_states = None if weight is None else transposed_product(slopes, weight.t())
        of_weight = None if states is None else transposed_product(slopes.t(), states.t())
        return of_states, of_weight, slopes.sum(0) if ctx.needs_input_grad[2] else None


class Linear(nn.Linear):
    """A linear layer that multiplies by oneDNN, by ``copies`` of weights while there are some."""

    copies: Copies | None = None

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the same as any linear layer."""
        if not suits(input, self.weight):
            return super().forward(input)
        if self.copies is not None and not torch.is_grad_enabled():
            return transposed_product(input, self.copies.of(self), self.bias)
        if input.numel() * self.out_features < SMALL:
            return super().forward(input)
        made = _Product.apply(input.reshape(-1, self.in_features), self.weight, self.bias)
        return made.view(*input.shape[:-1], self.out_features)


def multiply_faster(model: nn.Module) -> None:
    """Let a model's plain linear layers on a CPU multiply by oneDNN, where that is faster. They stay linear layers.

    Those of adapters are left alone: they are small, and ``lora_layers`` multiplies by them.
    """
    if not faster():
        return
    for name, module in model.named_modules():
        if type(module) is nn.Linear and module.weight.device.type == "cpu" and not OF_ADAPTERS & {*name.split(".")}:
            module.__class__ = Linear


class Copies:
    """Weights of the layers above as products with few rows read them fastest, made when they are first wanted.

    There are none where they would be too large. Who changes a weight has to begin anew.
    """

    def __init__(self, model: nn.Module) -> None:
        layers = [m for m in model.modules() if isinstance(m, Linear) and m.weight.numel() >= PACKED]
        fits = sum(layer.weight.nbytes for layer in layers) <= MOST_PACKED
        self.layers = layers if fits else []
        self._made: dict[Linear, torch.Tensor] = {}

    def of(self, layer: Linear) -> torch.Tensor:
        """Return a layer's."""
        if layer not in self._made:
            self._made[layer] = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), 16)
        return self._made[layer]


@contextmanager
def multiplying(copies: Copies | None) -> Generator[None]:
    """Let layers multiply by these copies of their weights, and by the weights afterwards."""
    layers = [] if copies is None else copies.layers
    try:
        for layer in layers:
            layer.copies = copies
        yield
    finally:
        for layer in layers:
            layer.copies = None
