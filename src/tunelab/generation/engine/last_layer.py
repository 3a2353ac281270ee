"""The last layer, computed for those tokens alone whose logits are wanted.

Of the other tokens nothing is needed there but their keys and values. So the layer is run twice: over all tokens until
its attention is known, where ``Attended`` leaves it, and then over the wanted ones, to which that attention is handed.
What the layer is given for each token is cut likewise.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from tunelab.errors import ModelError
from tunelab.generation.engine.reading import Reading

WORTH_IT = 2
"""How many times as many tokens as wanted ones a pass must have."""


class Attended(Exception):  # it is no error
    """The last layer's attention is known: what follows is not needed of all tokens."""


def last_layer(model: Any) -> nn.Module | None:
    """Return the last of a model's layers; None where it is not found, or does not know which it is."""
    count = model.config.get_text_config().num_hidden_layers
    stacks = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == count]
    return next((stack[-1] for stack in stacks if _is(stack[-1], count - 1)), None)


def _is(layer: nn.Module, index: int) -> bool:
    return {m.layer_idx for m in layer.modules() if hasattr(m, "layer_idx")} == {index}


@contextmanager
def trimmed(layer: nn.Module | None, reading: Reading, wanted: torch.Tensor | None) -> Generator[None]:
    """Let a pass's last layer compute the ``wanted`` tokens alone, where that pays; None are all.

    Raises ModelError, from within the model, where that layer does not attend through the engine.
    """
    tokens = len(reading.ids)
    if layer is None or wanted is None or tokens < WORTH_IT * len(wanted):
        yield
        return

    def before(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        reading.trim = wanted
        try:
            module.forward(*given, **named)
        except Attended:
            return _cut(given, wanted, tokens), {name: _cut(value, wanted, tokens) for name, value in named.items()}
        raise ModelError(f"{type(module).__name__}: attends by itself; use plain")

    def after(module: nn.Module, given: tuple[Any, ...], made: Any) -> Any:
        return (
            (_spread(made[0], wanted, tokens), *made[1:]) if isinstance(made, tuple) else _spread(made, wanted, tokens)
        )

    hooks = [layer.register_forward_pre_hook(before, with_kwargs=True), layer.register_forward_hook(after)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        reading.trim = reading.attended = None


def _cut(given: Any, wanted: torch.Tensor, tokens: int) -> Any:
    """Return what a layer is given of the wanted tokens."""
    if isinstance(given, tuple):
        return tuple(_cut(one, wanted, tokens) for one in given)
    of_tokens = isinstance(given, torch.Tensor) and given.dim() > 1 and given.shape[1] == tokens
    return given.index_select(1, wanted) if of_tokens else given


def _spread(made: torch.Tensor, wanted: torch.Tensor, tokens: int) -> torch.Tensor:
    """Return the wanted tokens where they stand in the pass, among zeros: some models know how many there are."""
    return made.new_zeros(1, tokens, made.shape[-1]).index_copy_(1, wanted, made)
