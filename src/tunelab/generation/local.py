"""Generation in this process, with transformers' own generate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel, StoppingCriteria, StoppingCriteriaList

from tunelab.formats.renderer import Renderer
from tunelab.generation.decoding import Decoding, Output, Request
from tunelab.generation.sampling import CounterSampler
from tunelab.generation.stops import find_stop, open_thought


class LocalGenerator:
    """Generates batches with one loaded model under one format."""

    def __init__(
        self, model: PreTrainedModel, renderer: Renderer, decoding: Decoding, stops: Sequence[str] = ()
    ) -> None:
        self.model = model
        self._renderer = renderer
        self._decoding = decoding
        self._stops = (*renderer.format.stop_strings, *stops)
        self.pad = renderer.pad_id
        self._stop_ids = stop_ids(model, renderer)
        self._config = GenerationConfig(
            max_new_tokens=decoding.max_new_tokens,
            do_sample=False,
            eos_token_id=sorted(self._stop_ids),
            pad_token_id=self.pad,
        )

    def run(self, batch: Sequence[Request]) -> list[Output]:
        """Generate one batch."""
        return [self.output(request, ids) for request, ids in zip(batch, self.draw(batch), strict=True)]

    @torch.no_grad()
    def draw(self, batch: Sequence[Request]) -> list[list[int]]:
        """Return the new ids of one batch, each row as far as it was drawn: the rest is padding."""
        ids, mask, width = self.padded(batch)
        samplers = [CounterSampler(self._decoding, batch, width)] if self._decoding.temperature > 0 else []
        generate: Any = self.model.generate
        made = generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=self._config,
            logits_processor=LogitsProcessorList(samplers),
            stopping_criteria=StoppingCriteriaList([_Ends(self.ended, batch, width)]),
        )
        rows: list[list[int]] = made[:, width:].tolist()
        return [row[: self.end(request, row)] for request, row in zip(batch, rows, strict=True)]

    def padded(self, batch: Sequence[Request]) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Return ids and mask, both (batch, longest prompt), and how many ids of a row precede what is drawn."""
        width = max(len(request.ids) for request in batch)
        ids = torch.tensor([[self.pad] * (width - len(r.ids)) + r.ids for r in batch], device=self.model.device)
        mask = torch.tensor([[0] * (width - len(r.ids)) + [1] * len(r.ids) for r in batch], device=self.model.device)
        return ids, mask, width

    def ended(self, request: Request, row: list[int]) -> bool:
        """Say whether the last of ``row``'s ids ends it: a stop id, what completes a stop string, or a spent budget.

        A cheap look at the tail decides whether to look closer.
        """
        budget = self._decoding.max_new_tokens if request.budget is None else request.budget
        if row[-1] in self._stop_ids or len(row) >= min(budget, self._decoding.max_new_tokens):
            return True
        stops, decode = (*self._stops, *request.stops), self._renderer.tokenizer.decode
        if not stops:
            return False
        tail = str(decode(row[-max(len(stop.encode()) for stop in stops) :]))
        if not any(stop in tail for stop in stops):
            return False
        return find_stop(open_thought(request.prompt) + str(decode(row)), stops) >= 0

    def end(self, request: Request, row: list[int]) -> int:
        """Return how many of ``row``'s ids generation keeps: up to a stop id, or to what completes a stop string."""
        before, decode = open_thought(request.prompt), self._renderer.tokenizer.decode
        stops, row = (*self._stops, *request.stops), row[: request.budget]
        stopped = bool(stops) and find_stop(before + str(decode(row)), stops) >= 0
        for tokens in range(1, len(row) + 1):
            if row[tokens - 1] in self._stop_ids:
                return tokens
            if stopped and find_stop(before + str(decode(row[:tokens])), stops) >= 0:
                return tokens
        return len(row)

    def output(self, request: Request, row: list[int]) -> Output:
        """Read a row of ``draw``: its text up to a stop string, and how it ended."""
        stopped = bool(row) and row[-1] in self._stop_ids
        text = self._renderer.parse(row[:-1] if stopped else row)
        before = open_thought(request.prompt)
        cut = find_stop(before + text, (*self._stops, *request.stops)) - len(before)
        finish = "stop_string" if cut >= 0 else "stop" if stopped else "length"
        return Output(
            id=request.id,
            sample=request.sample,
            prompt=request.prompt,
            output=text[:cut] if cut >= 0 else text,
            prompt_tokens=len(request.ids),
            output_tokens=len(row),
            finish=finish,
        )


class _Ends(StoppingCriteria):
    """Ends the rows that have all they get."""

    def __init__(self, ended: Callable[[Request, list[int]], bool], batch: Sequence[Request], width: int) -> None:
        self._ended = ended
        self._batch = batch
        self._width = width

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        """Return (batch,) flags."""
        rows: list[list[int]] = input_ids[:, self._width :].tolist()
        flags = [self._ended(request, row) for request, row in zip(self._batch, rows, strict=True)]
        return torch.tensor(flags, device=input_ids.device, dtype=torch.bool)  # pyright: ignore[reportReturnType]


def stop_ids(model: PreTrainedModel, renderer: Renderer) -> set[int]:
    """Return the ids that end a turn: the format's, and those that the model's own generation settings name."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    if configured is None:
        return set(renderer.stop_ids)
    return {*renderer.stop_ids, *([configured] if isinstance(configured, int) else configured)}
