"""Text from the engine, behind the same methods as transformers' own generate.

    generator = PackedGenerator(model, renderer, Decoding(max_new_tokens=64, temperature=1.0, seed=7), slots=32)
    for drawn in generator.drawn([Request("q1", 0, "", ids), Request("q1", 1, "", ids)]):
        drawn.ids, drawn.logprobs

Requests with the same ids read them once. A draw depends on the seed, the request's id and sample and the position
alone. With a model whose weights change, make a new generator for every change: it keeps the keys of its prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunelab.formats.renderer import Renderer
from tunelab.generation.decoding import Decoding, Request
from tunelab.generation.engine.decode import Decoder, Drawn
from tunelab.generation.engine.model import PackedModel
from tunelab.generation.engine.picking import Picker
from tunelab.generation.local import LocalGenerator


class PackedGenerator(LocalGenerator):
    """Generates with one loaded model under one format after ``shared`` ids, in the memory of ``slots`` whole texts."""

    def __init__(
        self,
        model: Any,
        renderer: Renderer,
        decoding: Decoding,
        stops: Sequence[str] = (),
        slots: int = 32,
        shared: Sequence[int] = (),
    ) -> None:
        super().__init__(model, renderer, decoding, stops)
        penalty = getattr(model.generation_config, "repetition_penalty", None) or 1.0
        packed = PackedModel(model, shared)
        self._decoder = Decoder(packed, Picker(decoding, penalty, scored=False), slots, self.ended)
        self._scoring = Decoder(packed, Picker(decoding, penalty, scored=True), slots, self.ended)

    @property
    def slots(self) -> int:
        """How many whole texts ``draw`` has room for; fewer than it was given once memory ran out."""
        return self._decoder.slots

    def draw(self, batch: Sequence[Request]) -> list[list[int]]:
        """Return the new ids of all requests, however many; each begins with the shared ids."""
        return [drawn.ids for drawn in self._cut(batch, self._decoder.draw(batch))]

    def drawn(self, requests: Sequence[Request]) -> list[Drawn]:
        """Return the same with log-probabilities: of the softmax of logits / temperature, before top-p cuts it."""
        return self._cut(requests, self._scoring.draw(requests))

    def _cut(self, requests: Sequence[Request], made: list[Drawn]) -> list[Drawn]:
        """Cut rows where plain generation would; a look at the tail may have been too short to see it."""
        for request, row in zip(requests, made, strict=True):
            end = self.end(request, row.ids)
            row.ids, row.logprobs = row.ids[:end], row.logprobs[:end]
        return made
