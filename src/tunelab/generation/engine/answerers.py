"""Who answers: the engine where it computes what the model does, plain generation of transformers elsewhere.

Plain generation is asked for by ``plain``; where the engine has to give way to it, a warning says why.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from tunelab.formats.renderer import Renderer
from tunelab.generation.batches import plan_batches, run_batches
from tunelab.generation.choose import Chooser
from tunelab.generation.decoding import ChoiceRequest, Decoding, Output, Request
from tunelab.generation.encoder_decoder import EncoderDecoderChooser, EncoderDecoderGenerator
from tunelab.generation.engine.check import refusal
from tunelab.generation.engine.chooser import PackedChooser
from tunelab.generation.engine.generator import PackedGenerator
from tunelab.generation.engine.model import shared_ids
from tunelab.generation.local import LocalGenerator
from tunelab.models.kind import Kind, kind_of

Asked = TypeVar("Asked", bound=Request)
Engine = Literal["auto", "plain"]
TOGETHER = 8
"""Batches that are answered, and written, as one where rows take each other's places."""


def answered_together(hardware: Mapping[str, Any], kind: Kind) -> int:
    """Return how many requests a model of a kind answers before they are written; a kill loses as many."""
    packed = kind == "causal" and hardware["generation"] == "auto"
    return hardware["generation_batch_size"] * (TOGETHER if packed else 1)


def why_plain(model: Any, engine: Engine) -> str:
    """Return why transformers answers with a loaded model, an empty text where the engine does. Warns of a refusal."""
    if engine == "plain":
        return "hardware.generation is plain, as auto is on mps"
    if kind_of(model.config) == "encoder-decoder":
        return "the model has an encoder"
    if reason := refusal(model):
        name = type(model).__name__
        warnings.warn(f"{name}: transformers' own generation answers, which is slower: {reason}", stacklevel=3)
        return reason
    return ""


class Answerers:
    """What answers with one loaded model under one format, ``size`` rows at a time."""

    def __init__(self, model: Any, renderer: Renderer, engine: Engine, size: int) -> None:
        self._model = model
        self._renderer = renderer
        self._size = size
        self._kind = kind_of(model.config)
        self.plainly = why_plain(model, engine)
        """Why transformers answers, an empty text where the engine does."""

    def described(self, prompts: Sequence[Sequence[int]]) -> dict[str, Any]:
        """Return plain JSON, for the facts of a record."""
        if self.plainly:
            return {"engine": "plain", "why": self.plainly}
        return {"engine": "packed", "shared_tokens": len(shared_ids(prompts))}

    def generator(
        self, decoding: Decoding, stops: Sequence[str], prompts: Sequence[Sequence[int]]
    ) -> Callable[[Sequence[Request]], Sequence[Output]]:
        """Return what writes text for requests of these ``prompts``."""
        model, renderer = self._model, self._renderer
        if not self.plainly:
            return PackedGenerator(model, renderer, decoding, stops, self._size, shared_ids(prompts)).run
        kind = EncoderDecoderGenerator if self._kind == "encoder-decoder" else LocalGenerator
        return self._batched(kind(model, renderer, decoding, stops).run)

    def chooser(self, prompts: Sequence[Sequence[int]]) -> Callable[[Sequence[ChoiceRequest]], Sequence[Output]]:
        """Return what chooses labels for requests of these ``prompts``."""
        if not self.plainly:
            return PackedChooser(self._model, self._renderer.pad_id, self._size, shared_ids(prompts)).run
        kind = EncoderDecoderChooser if self._kind == "encoder-decoder" else Chooser
        return self._batched(kind(self._model, self._renderer.pad_id).run)

    def _batched(self, run: Callable[[Sequence[Asked]], Sequence[Output]]) -> Callable[[Sequence[Asked]], list[Output]]:
        """Let plain generation have its batches, however many requests it is given."""
        return lambda asked: [made for batch in run_batches(plan_batches(asked, self._size), run) for made in batch]
