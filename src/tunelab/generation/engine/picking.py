"""Picking the next token of every row: the likeliest, or a draw with the row's own random number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from tunelab.generation.decoding import Decoding, Request
from tunelab.generation.sampling import draw, uniform

if TYPE_CHECKING:
    from tunelab.generation.engine.decode import Row


class Picker:
    """Picks by a decoding. ``penalty`` divides the odds of tokens that a row has had (Keskar et al. 2019).

    Log-probabilities, of the distribution at the temperature that all tokens have part in, are worth their time only to
    who wants them: they are given where ``scored``.
    """

    def __init__(self, decoding: Decoding, penalty: float = 1.0, scored: bool = True) -> None:
        self._decoding = decoding
        self._penalty = penalty
        self._scored = scored

    def budget(self, request: Request) -> int:
        """Return the most tokens that are drawn for a request."""
        most = self._decoding.max_new_tokens
        return most if request.budget is None else min(most, request.budget)

    def pick(self, logits: torch.Tensor, rows: Sequence[Row]) -> tuple[list[int], list[list[float]]]:
        """Return a token for each row of ``logits`` (rows, vocabulary), and its log-probability or nothing."""
        if self._penalty != 1:
            logits = self._penalised(logits, rows)
        if self._decoding.temperature == 0:
            tokens = logits.argmax(-1)
        else:
            numbers = [uniform(self._decoding.seed, row.request, len(row.drawn.ids)) for row in rows]
            tokens = draw(logits, self._decoding, torch.tensor(numbers, device=logits.device, dtype=torch.float64))
        if not self._scored:
            return tokens.tolist(), [[] for _ in rows]
        chosen = logits.gather(1, tokens[:, None])[:, 0]
        scale = self._decoding.temperature or 1.0
        logprobs = chosen / scale - torch.logsumexp(logits / scale, -1)
        return tokens.tolist(), logprobs[:, None].tolist()

    def _penalised(self, logits: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
        made = logits.clone()
        for at, row in enumerate(rows):
            had = torch.tensor(sorted({*row.request.ids, *row.drawn.ids}), device=logits.device)
            values = logits[at, had]
            made[at, had] = torch.where(values < 0, values * self._penalty, values / self._penalty)
        return made
