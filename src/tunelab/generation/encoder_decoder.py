"""Text and choices of encoder-decoder models, behind the same methods as those of causal ones.

The encoder reads the prompts, padded on the right, where positions are those of a prompt alone. The decoder's row
begins with one id, the model's own start, and everything after it is the answer. To choose, the encoder reads each
prompt once and the decoder reads the labels behind its start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tunelab.generation.choose import Chooser, Reading
from tunelab.generation.decoding import ChoiceRequest, Request
from tunelab.generation.local import LocalGenerator
from tunelab.models.heads import right_padded
from tunelab.models.kind import decoder_start


class EncoderDecoderGenerator(LocalGenerator):
    """Generates batches; a row of the decoder has one id before what is drawn."""

    def padded(self, batch: Sequence[Request]) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Return ids and mask of the prompts, both (batch, longest prompt), and 1."""
        return *right_padded([request.ids for request in batch], self.pad, self.model.device), 1


class EncoderDecoderChooser(Chooser):
    """Chooses labels by one pass of the encoder over the prompts and one of the decoder over all labels."""

    def before(self, request: ChoiceRequest) -> list[int]:
        """Return the decoder's start."""
        return [decoder_start(self.model.config)]

    @torch.no_grad()
    def read(self, batch: Sequence[ChoiceRequest], several: Sequence[Sequence[Reading]]) -> list[list[list[float]]]:
        """Return, for each reading and each of its places, the log-probabilities of the tokens asked for there."""
        asked = [reading for of_one in several for reading in of_one]
        rows = torch.tensor([row for row, of_one in enumerate(several) for _ in of_one], device=self.model.device)
        logprobs = torch.log_softmax(self._logits(batch, rows, asked).float(), dim=-1)
        return [
            [logprobs[row, len(r.ids) - len(r.tokens) + at, wanted].tolist() for at, wanted in enumerate(r.tokens)]
            for row, r in enumerate(asked)
        ]

    def _logits(self, batch: Sequence[ChoiceRequest], rows: torch.Tensor, asked: Sequence[Reading]) -> torch.Tensor:
        """Return (readings, longest reading, vocabulary); ``rows`` says which prompt each reading belongs to."""
        device = self.model.device
        ids, mask = right_padded([request.ids for request in batch], self.pad, device)
        labels, _ = right_padded([reading.ids for reading in asked], self.pad, device)
        encoded: Any = self.model.get_encoder()(input_ids=ids, attention_mask=mask)
        encoded.last_hidden_state = encoded.last_hidden_state[rows]
        made = self.model(encoder_outputs=encoded, attention_mask=mask[rows], decoder_input_ids=labels, use_cache=False)
        return made.logits
