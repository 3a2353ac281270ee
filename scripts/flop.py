"""The FLOP that a Llama cannot do without: what the share of a matrix product's speed is reckoned from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """A Llama's sizes, with as many key heads as heads: what its FLOP are counted from."""

    hidden: int
    inner: int
    layers: int
    vocabulary: int

    def layer_flop(self, tokens: float) -> float:
        """Return the FLOP of all layers' matrices for so many tokens: 2 a weight."""
        return 2 * self.layers * (4 * self.hidden**2 + 3 * self.hidden * self.inner) * tokens

    def head_flop(self, scored: float) -> float:
        """Return the FLOP of logits at so many places."""
        return 2 * self.hidden * self.vocabulary * scored

    def attention_flop(self, pairs: float) -> float:
        """Return the FLOP of attention between so many pairs of a query and a key, in all layers."""
        return 4 * self.hidden * self.layers * pairs

    def forward(self, tokens: float, scored: float, pairs: float) -> float:
        """Return the FLOP of a forward pass that leaves out whatever can be left out."""
        return self.layer_flop(tokens) + self.head_flop(scored) + self.attention_flop(pairs)


def causal(new: float, before: float = 0) -> float:
    """Return the pairs of ``new`` tokens with themselves and all before them."""
    return new * before + new * (new + 1) / 2
