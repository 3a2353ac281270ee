"""Linear layers with a LoRA adapter, which add the adapter's product to the base's where that lies.

PEFT computes y + s B (A x) in three operations, each of which makes a tensor as wide as the layer, and more on the way
back. Here it is one matrix product that adds to y, and no such tensor is made: the sums are the same in another order.
Dropout takes the numbers that torch's would take, and keeps a byte of every element in place of two floats.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora.layer import Linear, LoraLayer
from torch import nn
from torch.autograd.function import once_differentiable

from tunelab.models import products

UNCHANGED = (nn.Linear, products.Linear)
"""Base layers that compute what a linear layer does and nothing else."""


class LoraLinear(Linear):
    """PEFT's layer; what is computed differently here is fp32 on a CPU, under one adapter without bias over a layer
    that is neither trained nor watched by hooks."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return what PEFT's layer does."""
        if args or kwargs or not self._adds_in_place(x):
            return super().forward(x, *args, **kwargs)
        [name] = self.active_adapters
        base: Any = self.base_layer
        rate = _rate(self.lora_dropout[name])
        down, up, scale = *self._matrices(name), self.scaling[name] / (1 - rate)
        states = x.reshape(-1, x.shape[-1])
        kept = torch.empty_like(x, dtype=torch.bool).bernoulli_(1 - rate).reshape(states.shape) if rate else None
        if torch.is_grad_enabled():
            made = _Added.apply(states, base.weight, base.bias, down, up, scale, kept)
        else:
            made = base(states).addmm_(products.linear(_left(states, kept), down), up.t(), alpha=scale)
        return made.view(*x.shape[:-1], len(up))

    def _matrices(self, name: str) -> tuple[Any, Any]:
        return self.lora_A[name].weight, self.lora_B[name].weight

    def _adds_in_place(self, x: torch.Tensor) -> bool:
        base = self.base_layer
        if not is_plain(self) or self.disable_adapters or self.merged or type(base) not in UNCHANGED:
            return False
        [name] = self.active_adapters
        trained = any(weight.requires_grad for weight in base.parameters())
        if type(self.lora_dropout[name]) not in (nn.Identity, nn.Dropout) or _rate(self.lora_dropout[name]) == 1:
            return False
        if trained or base._forward_hooks or base._forward_pre_hooks:
            return False
        if x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return False
        return x.dtype == base.weight.dtype == self.lora_A[name].weight.dtype == torch.float32


def is_plain(layer: LoraLayer) -> bool:
    """Say whether a linear layer has one adapter, which is plain LoRA without a bias."""
    plain = type(layer) in (Linear, LoraLinear) and len(layer.active_adapters) == 1 and not layer.lora_variant
    return plain and layer.active_adapters[0] in layer.lora_A and not any(layer.lora_bias.values())


def add_in_place(model: nn.Module) -> None:
    """Let PEFT's layers of a model add as above. They stay PEFT's layers."""
    for module in model.modules():
        if type(module) is Linear:
            module.__class__ = LoraLinear


def _rate(dropout: Any) -> float:
    """Return which share of its input a layer drops now."""
    return dropout.p if isinstance(dropout, nn.Dropout) and dropout.training else 0.0


def _left(states: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
    """Return what dropout leaves of rows, not scaled yet."""
    return states if kept is None else states * kept


class _Added(torch.autograd.Function):
    """W x + b + s B (A d(x)) of rows x, and the gradients of x, A and B; d leaves what is ``kept``, or all."""

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scale: float,
        kept: torch.Tensor | None,
    ) -> torch.Tensor:
        low = products.linear(_left(states, kept), down)
        ctx.save_for_backward(states, low, weight if ctx.needs_input_grad[0] else None, down, up, kept)
        ctx.scale = scale
        return products.linear(states, weight, bias).addmm_(low, up.t(), alpha=scale)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *outer: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        (states, low, weight, down, up, kept), [slopes] = ctx.saved_tensors, outer
        back = products.product(slopes, up).mul_(ctx.scale)
        of_down, of_up = back.t() @ _left(states, kept), (slopes.t() @ low).mul_(ctx.scale)
        if weight is None:
            return None, None, None, of_down, of_up, None, None
        of_states = products.product(slopes, weight)
        of_states = of_states.addmm_(back, down) if kept is None else of_states.addcmul_(back @ down, kept)
        return of_states, None, None, of_down, of_up, None, None
