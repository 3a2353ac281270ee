"""A loaded model as the engine uses it: packed tokens in, logits of chosen tokens out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tunelab.generation.engine.attention import READING, attending, configurations
from tunelab.generation.engine.cache import Prefix
from tunelab.generation.engine.last_layer import last_layer, trimmed
from tunelab.generation.engine.reading import New, Reading
from tunelab.models.products import Copies, multiplying

LEAST_SHARED = 16
"""A shorter prefix is read anew for every prompt: sharing it costs more than it saves."""


def shared_ids(prompts: Sequence[Sequence[int]], least: int = LEAST_SHARED) -> list[int]:
    """Return what all prompts begin with, short of the last token of each; nothing where that is too little."""
    if not prompts:
        return []
    first, last = min(map(list, prompts)), max(map(list, prompts))
    most = min(map(len, prompts)) - 1
    length = next((i for i in range(most) if first[i] != last[i]), most)
    return list(first[:length]) if length >= least else []


class PackedModel:
    """Reads packed passes with one model, after a prefix that it has read once."""

    def __init__(self, model: Any, shared: Sequence[int] = ()) -> None:
        self.model = model
        self.shared = list(shared)
        self._configs = configurations(model)
        self._last = last_layer(model)
        self._prefix: Prefix | None = None
        self._copies = Copies(model)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    @property
    def vocabulary(self) -> int:
        """How many logits a token has."""
        return self.model.config.get_text_config().vocab_size

    @property
    def prefix(self) -> Prefix | None:
        """The keys of what all prompts begin with, read when they are first asked for; None where nothing is shared."""
        if self._prefix is None and self.shared:
            kept = Prefix(len(self.shared))
            self.logits(Reading(self.device, new=[New(self.shared)], kept=kept), [len(self.shared) - 1])
            self._prefix = kept
        return self._prefix

    def own(self, ids: Sequence[int]) -> list[int]:
        """Return what a prompt has after the prefix. The prompt must begin with it."""
        rest = list(ids[len(self.shared) :])
        assert rest
        assert list(ids[: len(self.shared)]) == self.shared
        return rest

    @torch.no_grad()
    def logits(self, reading: Reading, wanted: Sequence[int] | None = None) -> torch.Tensor:
        """Return the logits after the ``wanted`` tokens of a pass, or all, (wanted, vocabulary), in fp32."""
        places = None if wanted is None else torch.tensor(wanted, device=self.device)
        copies = self._copies if reading.rows else None
        with attending(self._configs), trimmed(self._last, reading, places), multiplying(copies):
            made = self.model(
                input_ids=reading.tokens,
                position_ids=reading.positions,
                logits_to_keep=0 if places is None else places,
                use_cache=False,
                **{READING: reading},
            )
        return made.logits[0].float()
