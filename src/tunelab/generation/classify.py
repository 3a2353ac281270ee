"""Classifying: the label to which a task's head gives the largest log-probability."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tunelab.errors import ModelError
from tunelab.generation.decoding import ChoiceRequest, Chosen, chosen
from tunelab.models.heads import ClassifierModel, right_padded


class Classifier:
    """Answers prompts of one task with one loaded classifier. Raises ModelError when it has no head for the task."""

    def __init__(self, model: ClassifierModel, task: str, pad: int) -> None:
        if task not in model.labels:
            raise ModelError(f"classifier: got the task {task!r}, expected one with a head: {', '.join(model.labels)}")
        self._model = model
        self._task = task
        self._pad = pad

    @torch.no_grad()
    def run(self, batch: Sequence[ChoiceRequest]) -> list[Chosen]:
        """Classify one batch of prompts. Raises ModelError for other labels than the head was trained on."""
        labels = self._model.labels[self._task]
        if unlike := next((request for request in batch if request.labels != labels), None):
            raise ModelError(
                f"classifier: got the labels {unlike.labels} of {unlike.id}, expected {labels}; train anew"
            )
        ids, mask = right_padded([request.ids for request in batch], self._pad, self._model.device)
        task = torch.full((len(batch),), list(self._model.labels).index(self._task), device=self._model.device)
        logits = self._model(ids, mask, task)["logits"][:, : len(labels)]
        values = torch.log_softmax(logits, dim=-1).tolist()
        return [chosen(request, row) for request, row in zip(batch, values, strict=True)]
