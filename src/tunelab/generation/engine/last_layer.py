"""The last layer, computed for those tokens alone whose logits are wanted.

Of the other tokens nothing is needed there but their keys and values. So the layer is run twice: over all tokens until
its attention is known, where ``Attended`` leaves it, and then over the wanted ones, to which that attention is handed.
What the layer is given for each token is cut likewise. The rest of the model sees the wanted tokens only.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
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
def trimmed(layer: nn.Module | None, reading: Reading, wanted: Sequence[int]) -> Generator[Any]:
    """Let a pass's last layer return the ``wanted`` tokens alone, where that pays; yields what is then to be kept.

    Raises ModelError, from within the model, where that layer does not attend through the engine.
    """
    places = torch.tensor(wanted, device=reading.device)
    if layer is None or len(reading.ids) < WORTH_IT * len(wanted):
        yield places
        return

    def cut(given: Any) -> Any:
        if isinstance(given, tuple):
            return tuple(map(cut, given))
        of_tokens = isinstance(given, torch.Tensor) and given.dim() > 1 and given.shape[1] == len(reading.ids)
        return given.index_select(1, places) if of_tokens else given

    def run(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        reading.trim = places
        try:
            module.forward(*given, **named)
        except Attended:
            return cut(given), {name: cut(value) for name, value in named.items()}
        raise ModelError(f"{type(module).__name__}: attends by itself; use plain")

    hook = layer.register_forward_pre_hook(run, with_kwargs=True)
    try:
        yield 0
    finally:
        hook.remove()
        reading.trim = reading.attended = None
