"""Choosing with the engine: the shared prefix once, each prompt once, and its labels as branches of it.

The head is computed after a prompt's last token and within the labels alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from tunelab.generation.choose import Chooser, Reading
from tunelab.generation.decoding import ChoiceRequest
from tunelab.generation.engine.model import PackedModel
from tunelab.generation.engine.reading import New
from tunelab.generation.engine.reading import Reading as Pass
from tunelab.generation.footprint import LARGEST_PASS

MOST_LOGITS = 1 << 25
"""Logits that are held at a time: 128 MiB in fp32."""


@dataclass(frozen=True)
class Tree:
    """A prompt, what grows from it, and of each reading the tokens wanted at its places.

    The first place is after the prompt, the next ones are after each token of the reading's branch.
    """

    prompt: list[int]
    branches: list[list[int]]
    wanted: list[list[list[int]]]

    @property
    def size(self) -> int:
        """How many tokens are read."""
        return len(self.prompt) + self.places - 1

    @property
    def places(self) -> int:
        """How many places have logits."""
        return 1 + sum(map(len, self.branches))

    def new(self) -> New:
        """Return it as a sequence of a pass."""
        return New(self.prompt, branches=[branch for branch in self.branches if branch])

    def rows(self) -> Iterator[tuple[list[int], list[list[int]]]]:
        """Return, for each reading, which of the tree's places are its own, and the tokens wanted there."""
        start = 1
        for branch, wanted in zip(self.branches, self.wanted, strict=True):
            yield [0, *range(start, start + len(branch))][: len(wanted)], wanted
            start += len(branch)


class PackedChooser(Chooser):
    """Chooses labels with one loaded causal model, at most ``size`` prompts a pass; all begin with ``shared`` ids."""

    def __init__(self, model: Any, pad: int, size: int = 32, shared: Sequence[int] = ()) -> None:
        super().__init__(model, pad)
        self._size = size
        self._packed = PackedModel(model, shared)

    def read(self, batch: Sequence[ChoiceRequest], several: Sequence[Sequence[Reading]]) -> list[list[list[float]]]:
        """Return, for each reading and each of its places, the log-probabilities of the tokens asked for there."""
        trees = [self._tree(request, readings) for request, readings in zip(batch, several, strict=True)]
        return [found for trees in self._passes(trees) for found in self._read(trees)]

    def _tree(self, request: ChoiceRequest, readings: Sequence[Reading]) -> Tree:
        """Grow the readings from the prompt; a single one is its own stem."""
        stem = readings[0].ids if len(readings) == 1 else request.ids
        branches = [reading.ids[len(stem) :] for reading in readings]
        return Tree(self._packed.own(stem), branches, [reading.tokens for reading in readings])

    def _passes(self, trees: Sequence[Tree]) -> Iterator[list[Tree]]:
        """Cut trees into passes of bounded size."""
        places = max(1, MOST_LOGITS // self.model.config.get_text_config().vocab_size)
        held: list[Tree] = []
        for tree in trees:
            together = [*held, tree]
            fits = sum(t.size for t in together) <= LARGEST_PASS and sum(t.places for t in together) <= places
            if held and not (fits and len(together) <= self._size):
                yield held
                together = [tree]
            held = together
        yield held

    @torch.no_grad()
    def _read(self, trees: Sequence[Tree]) -> list[list[list[float]]]:
        reading = Pass(self._packed.device, new=[tree.new() for tree in trees], prefix=self._packed.prefix)
        wanted: list[int] = []
        at = 0
        for tree in trees:
            at += len(tree.prompt)
            wanted += range(at - 1, at - 1 + tree.places)
            at += tree.places - 1
        return _asked_for(self._packed.logits(reading, wanted), trees)


def _asked_for(logits: torch.Tensor, trees: Sequence[Tree]) -> list[list[list[float]]]:
    """Return the log-probabilities of what trees want, of logits at all their places, (places, vocabulary)."""
    at: list[int] = []
    ids: list[int] = []
    cuts: list[list[int]] = []
    first = 0
    for tree in trees:
        for rows, tokens in tree.rows():
            at += [first + row for row, several in zip(rows, tokens, strict=True) for _ in several]
            ids += [token for several in tokens for token in several]
            cuts.append([len(several) for several in tokens])
        first += tree.places
    rows = torch.tensor(at, device=logits.device)
    wanted = logits[rows, torch.tensor(ids, device=logits.device)] - torch.logsumexp(logits, -1)[rows]
    values = iter(wanted.tolist())
    return [[list(islice(values, count)) for count in counts] for counts in cuts]
