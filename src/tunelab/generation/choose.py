"""Choosing: the log-probability of each label given the prompt, and the likeliest label as the answer.

A label's ids come from the renderer, so choosing asks for exactly what training teaches, without the end of the
turn. After what all labels have in common, where they differ at once (every label has another token there), that
token decides: one forward pass over the prompt gives the log-probabilities of all labels. Where two labels go on
with the same token, each label is read whole, and its log-probability is the sum over its tokens (a longer label
has more to sum, as in every comparison of whole answers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tunelab.errors import FormatError
from tunelab.generation.decoding import ChoiceRequest, Chosen, chosen

FIRST_DIFFERENCE, WHOLE = "first differing token", "whole label"


@dataclass(frozen=True)
class Reading:
    """One forward pass: ``ids`` is read, and ``tokens`` are what is asked for after its last ``len(tokens)`` places.

    ``tokens`` holds, for each of these places, the ids whose log-probabilities are wanted there.
    """

    ids: list[int]
    tokens: list[list[int]]


def readings(request: ChoiceRequest, before: list[int]) -> list[Reading]:
    """Return one reading for all labels, or one for each, after the ids that come ``before`` a label.

    Raises FormatError when a label begins with another.
    """
    labels = [list(label) for label in request.label_ids]
    shared = _shared(labels)
    if any(len(label) == shared for label in labels):
        raise FormatError(
            f"choices of {request.id}: got {', '.join(map(repr, request.labels))}, one of which begins with another, "
            "expected labels that differ; write by: generate"
        )
    if manner(request) == FIRST_DIFFERENCE:
        return [Reading(before + labels[0][:shared], [[label[shared] for label in labels]])]
    return [Reading(before + label[:-1], [[token] for token in label]) for label in labels]


def manner(request: ChoiceRequest) -> str:
    """Say what the labels of a prompt are told apart by."""
    shared = _shared(request.label_ids)
    following = {label[shared] for label in request.label_ids if len(label) > shared}
    return FIRST_DIFFERENCE if len(following) == len(request.label_ids) else WHOLE


def _shared(labels: Sequence[Sequence[int]]) -> int:
    """Return how many ids all labels begin with."""
    length = min(map(len, labels))
    return next((i for i in range(length) if len({label[i] for label in labels}) > 1), length)


class Chooser:
    """Chooses labels with one loaded causal model."""

    def __init__(self, model: Any, pad: int) -> None:
        self.model = model
        self.pad = pad

    def run(self, batch: Sequence[ChoiceRequest]) -> list[Chosen]:
        """Choose for one batch of prompts."""
        asked = [readings(request, self.before(request)) for request in batch]
        found = iter(self.read(batch, asked))
        return [
            chosen(request, _values([next(found) for _ in several]))
            for request, several in zip(batch, asked, strict=True)
        ]

    def before(self, request: ChoiceRequest) -> list[int]:
        """Return the ids that a label follows."""
        return request.ids

    @torch.no_grad()
    def read(self, batch: Sequence[ChoiceRequest], several: Sequence[Sequence[Reading]]) -> list[list[list[float]]]:
        """Return, for each reading and each of its places, the log-probabilities of the tokens asked for there."""
        asked = [reading for of_one in several for reading in of_one]
        width, places = max(len(r.ids) for r in asked), max(len(r.tokens) for r in asked)
        ids = torch.tensor([[self.pad] * (width - len(r.ids)) + r.ids for r in asked], device=self.model.device)
        mask = torch.tensor([[0] * (width - len(r.ids)) + [1] * len(r.ids) for r in asked], device=self.model.device)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        logits = self.model(
            input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=places, use_cache=False
        ).logits
        logprobs = torch.log_softmax(logits.float(), dim=-1)
        return [
            [logprobs[row, places - len(r.tokens) + place, wanted].tolist() for place, wanted in enumerate(r.tokens)]
            for row, r in enumerate(asked)
        ]


def _values(found: Sequence[list[list[float]]]) -> list[float]:
    """Return each label's log-probability: all in one reading, or a reading a label whose places are summed."""
    if len(found) == 1:
        return found[0][0]
    return [sum(place[0] for place in label) for label in found]
