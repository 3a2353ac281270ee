"""The language-model head and its loss on the tokens that are learnt alone, a tile of logits at a time.

The loss is a sum over tokens divided by a number that is known beforehand, so the gradient of a tile's logits is known
as soon as they are: logits are made once, never kept, and cost two matrix products more with their gradients, where the
usual way keeps all of them or makes them twice.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from trl.kernels import ChunkedLogProbFunction

from tunelab.models.footprint import BYTES, TILE
from tunelab.models.products import linear, product, suits

VOCABULARY_TILE = 32768
"""Words whose logits TRL's function makes at a time."""
ADDED = 1 << 22
"""Numbers of a product that are held before they are added."""


@dataclass(frozen=True)
class Learnt:
    """The loss of a batch, and what it says of the tokens that are learnt: their number and sums over them."""

    loss: torch.Tensor
    tokens: torch.Tensor
    entropy: torch.Tensor
    """Of the predictions, in nats."""
    correct: torch.Tensor
    """Tokens that were the most likely ones."""


@dataclass(frozen=True)
class Logits:
    """What a model does to the logits of its head."""

    scale: float = 1.0
    softcap: float | None = None


def logits_of(config: Any) -> Logits:
    """Read a causal model's configuration, whose names for a scale are those of its architecture."""
    config = config.get_text_config()
    divided = getattr(config, "logits_scaling", None)
    scale = getattr(config, "logit_scale", None) or (1 / divided if divided else 1.0)
    return Logits(scale, getattr(config, "final_logit_softcapping", None))


def add_supervised_head(model: Any) -> None:
    """Let ``model(..., labels=labels, learnt_tokens=n)`` return a map of what ``Learnt`` holds, its loss divided by n.

    ``labels`` are (1, tokens), those of position t predicted at t - 1. Calls without ``learnt_tokens`` are as before.
    """
    original: Callable[..., Any] = model.forward
    logits = logits_of(model.config)

    def forward(self: Any, *args: Any, learnt_tokens: torch.Tensor | None = None, **kwargs: Any) -> Any:
        if learnt_tokens is None:
            return original(*args, **kwargs)
        labels = kwargs.pop("labels")
        hidden = self.base_model(*args, **kwargs).last_hidden_state
        return vars(supervised_loss(hidden, labels, self.get_output_embeddings(), logits, learnt_tokens))

    model.forward = types.MethodType(forward, model)


def add_scored_places(model: Any, temperature: float) -> None:
    """Let ``model(..., places=places, targets=targets)`` return a map of log-probabilities and entropies, (targets,).

    Target i is predicted by the hidden state at place i of the only row, at a temperature. Calls without ``places`` are
    as before.
    """
    original: Callable[..., Any] = model.forward
    logits = logits_of(model.config)

    def forward(self: Any, *args: Any, places: torch.Tensor | None = None, **kwargs: Any) -> Any:
        if places is None:
            return original(*args, **kwargs)
        targets = kwargs.pop("targets")
        states = self.base_model(*args, **kwargs).last_hidden_state[0].index_select(0, places)
        head = self.get_output_embeddings()
        known = temperature, VOCABULARY_TILE, logits.softcap, logits.scale, ("entropy",)
        log_probs, entropy, *_ = ChunkedLogProbFunction.apply(states, head.weight, head.bias, targets, *known)
        return {"log_probs": log_probs, "entropy": entropy}

    model.forward = types.MethodType(forward, model)


def supervised_loss(
    hidden: torch.Tensor, labels: torch.Tensor, head: Any, logits: Logits, divisor: torch.Tensor
) -> Learnt:
    """Return the negative log-likelihood of the labels that are not negative, summed and divided by ``divisor``.

    ``hidden`` is (1, tokens, width) and ``labels`` (1, tokens); ``head`` is the model's own linear layer.
    """
    places = (labels[0, 1:] >= 0).nonzero().flatten()
    states, targets = hidden[0].index_select(0, places), labels[0].index_select(0, places + 1)
    found = _Loss.apply(states, head.weight, head.bias, targets, divisor, logits)
    return Learnt(found[0], targets.new_tensor(len(targets)), *found[1:])


class _Loss(torch.autograd.Function):
    """Loss, entropy and hits of a head's predictions; gradients are made with the loss."""

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        divisor: torch.Tensor,
        logits: Logits,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        of_states, of_weight, of_bias = (
            torch.zeros_like(x, dtype=torch.float32) if wanted and x is not None else None
            for x, wanted in zip((states, weight, bias), ctx.needs_input_grad, strict=False)
        )
        kind, sums = _computed_in(states), torch.zeros(3, device=states.device)
        matrix, offset = weight.to(kind), None if bias is None else bias.to(kind)
        tile = max(1, TILE // (BYTES["fp32"] * len(weight)))
        for part in (slice(start, start + tile) for start in range(0, len(states), tile)):
            inputs = states[part].to(kind)
            found, slopes = _predicted(linear(inputs, matrix, offset).float(), targets[part], logits)
            sums += found
            rounded = slopes.div_(divisor).to(kind)
            if of_states is not None:
                of_states[part] = product(rounded, matrix).float()
            if of_weight is not None:
                _add_product(of_weight, rounded.t(), inputs)
            if of_bias is not None:
                of_bias += slopes.sum(0)
        ctx.gradients = of_states, of_weight, of_bias
        ctx.kinds = states.dtype, weight.dtype
        loss, entropy, correct = sums.unbind()
        ctx.mark_non_differentiable(entropy, correct)
        return loss / divisor, entropy, correct

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> Any:
        one = outer[0].device.type == "cpu" and outer[0] == 1
        found = [g if g is None or one else g * outer[0] for g in ctx.gradients]
        kinds = (ctx.kinds[0], ctx.kinds[1], ctx.kinds[1])
        return *(g if g is None else g.to(kind) for g, kind in zip(found, kinds, strict=True)), None, None, None


def _computed_in(states: torch.Tensor) -> torch.dtype:
    device = states.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype


def _predicted(scores: torch.Tensor, targets: torch.Tensor, logits: Logits) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sums of loss, entropy and hits over a tile, and the loss's gradient by the head's output ``scores``.

    ``scores`` are (tokens, words) in fp32, and are overwritten.
    """
    if logits.scale != 1:
        scores.mul_(logits.scale)
    if logits.softcap:
        scores.div_(logits.softcap).tanh_().mul_(logits.softcap)
    slopes, highest = torch.softmax(scores, dim=-1), scores.amax(-1)
    partition = highest - slopes.amax(-1).log()  # the logarithm of the sum, without another pass of exponentials
    chosen = scores.gather(1, targets[:, None])[:, 0]
    loss, hits = (partition - chosen).sum(), (chosen == highest).sum()
    entropy = (partition - torch.linalg.vecdot(slopes, scores)).sum()
    slopes.scatter_add_(1, targets[:, None], slopes.new_full((len(targets), 1), -1.0))
    if logits.softcap:
        slopes.mul_(1 - scores.div_(logits.softcap).square_())
    if logits.scale != 1:
        slopes.mul_(logits.scale)
    return torch.stack([loss, entropy, hits]), slopes


def _add_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """Add a matrix product to an fp32 ``total``, without rounding it before where the device can."""
    if total.device.type == "cuda" and left.dtype != torch.float32:
        torch.addmm(total, left, right, out_dtype=torch.float32, out=total)
    elif suits(left, right):
        rows = max(1, ADDED // total.shape[1])
        for part in (slice(start, start + rows) for start in range(0, len(total), rows)):
            total[part] += product(left[part], right)
    else:
        total.addmm_(left.float(), right.float())
