"""Keys and values that outlive a pass: those of the shared prefix, once for all rows, and those of each row, in slots.

Keys are (heads, tokens, width) of a prefix and (slots, heads, room, width) of rows; a layer's are made when it is
first written. Room is a multiple of ``STEP`` tokens. What a slot holds beyond its row is finite and never seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from tunelab.generation.engine.partial import Part
from tunelab.generation.footprint import STEP


@dataclass
class Prefix:
    """The first ``length`` tokens of every prompt."""

    length: int
    layers: dict[int, Part] = field(default_factory=dict[int, Part])

    def write(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Keep a layer's keys and values, (heads, tokens, width)."""
        self.layers[layer] = (key.contiguous(), value.contiguous())

    @property
    def size(self) -> int:
        """Its bytes."""
        return sum(kept.nbytes for pair in self.layers.values() for kept in pair)


@dataclass
class Slots:
    """What rows have read and drawn after the prefix; no row will hold more than ``most`` tokens."""

    count: int
    most: int
    room: int = 0
    layers: dict[int, Part] = field(default_factory=dict[int, Part])

    def make_room(self, tokens: int) -> None:
        """Let every slot hold at least so many tokens. Room doubles, since growing copies all that is held."""
        if tokens <= self.room:
            return
        self.room = -(-max(tokens, min(2 * self.room, self.most)) // STEP) * STEP
        for layer, (key, value) in self.layers.items():
            self.layers[layer] = (self._grown(key), self._grown(value))

    def of(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> Part:
        """Return a layer's slots, which hold keys and values like ``key`` and ``value``, (heads, tokens, width)."""
        if layer not in self.layers:
            self.layers[layer] = (self._empty(key), self._empty(value))
        return self.layers[layer]

    def copy(self, source: int, target: int, tokens: int) -> None:
        """Copy the first ``tokens`` of a slot into another."""
        for pair in self.layers.values():
            for kept in pair:
                kept[target, :, :tokens] = kept[source, :, :tokens]

    def _empty(self, like: torch.Tensor) -> torch.Tensor:
        return like.new_zeros(self.count, like.shape[0], self.room, like.shape[-1])

    def _grown(self, kept: torch.Tensor) -> torch.Tensor:
        grown = kept.new_empty(self.count, kept.shape[1], self.room, kept.shape[3])
        grown[:, :, : kept.shape[2]] = kept
        grown[:, :, kept.shape[2] :] = 0
        return grown
