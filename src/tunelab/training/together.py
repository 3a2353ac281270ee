"""LoRA adapters trained together over one base, each as it would be by itself: what is computed at once is the passes.

Every adapter has its own trainer, the one that it would have alone: rows in its order, clipping, optimiser, schedule,
metrics, checkpoints. The trainers go on in lockstep; where each would compute the gradients of a pass, those of all are
computed in one (``models/stacked_adapters.py``), or one after the other. Which is faster depends on the model and the
machine, so the first passes try both ways in turn. All of them are passes of the training: the trial costs nothing, and
nothing has to be undone. In the first, both ways must say the same loss.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch

from tunelab.models.packed_attention import packed_attention
from tunelab.models.stacked_adapters import Stack, sharing_weights
from tunelab.models.supervised_head import Learnt
from tunelab.training.job import Job, carry_out
from tunelab.training.lockstep import Meet, in_lockstep
from tunelab.training.packing import EXACT, PackedTrainer
from tunelab.training.rows import SupervisedRows
from tunelab.training.sft import build_trainer, total_steps

MOST = 8
"""Adapters of a pass: their activations lie in memory at once."""
TRIAL = 5
"""Passes that are timed each way, of which the first is not counted."""
FEWEST_STEPS = 20
"""Trainings of fewer steps are not worth a trial."""
GAIN = 0.95
"""Less is not worth it: what is timed has noise."""


class LockstepTrainer(PackedTrainer):
    """Meets the others before each pass, whose gradients come from there, or are computed here when it is told to."""

    meet: Meet
    took: float = 0.0
    """Seconds of the last pass, where it was computed here."""

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Return the loss of a pass whose gradients have been added."""
        loss = self.meet(Pass(self, model, inputs, num_items_in_batch))
        if loss is not None:
            return loss
        started = now(self.args.device)
        loss = super().training_step(model, inputs, num_items_in_batch)
        self.took = now(self.args.device) - started
        return loss

    def prepared(self, asked: Pass) -> tuple[dict[str, Any], torch.Tensor]:
        """Return a pass's batch on the device, and what its loss is divided by."""
        inputs: Any = self._prepare_inputs(asked.inputs)
        return self.packed(inputs), torch.as_tensor(asked.number).clamp(min=1)


def now(device: torch.device) -> float:
    """Return seconds on a clock, once all that was given to the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


@dataclass(frozen=True)
class Pass:
    """What a trainer asks for: the gradients of a batch, whose loss is divided by a number of tokens."""

    trainer: LockstepTrainer
    model: Any
    inputs: dict[str, Any]
    number: Any

    @property
    def tokens(self) -> int:
        """Tokens of the batch."""
        return self.inputs["input_ids"].numel()


@dataclass
class Passes:
    """Computes the passes of all trainers together, or has each compute its own; the first ones try which is faster."""

    base: Any
    gain: float = GAIN
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"together": [], "alone": []})
    """A token, of each pass of the trial."""
    refused: str = ""
    """Why passes are computed one after the other, whatever their time."""
    _stacks: list[Stack] = field(default_factory=list[Stack])
    """Of at most ``MOST`` adapters each, in order."""
    _alone: int = 0
    """Tokens of the pass before, where each trainer computed its own and it is not counted yet."""

    def answer(self, asked: list[Pass]) -> Sequence[torch.Tensor | None]:
        """Compute a pass of every trainer and return the losses; None where each is to compute its own."""
        tokens = sum(one.tokens for one in asked)
        if self._alone:
            self._count("alone", sum(one.trainer.took for one in asked) / self._alone)
        elif not self._stacks and not self.refused:
            self.refused = self._begin(asked)
        together = self._way() == "together"
        self._alone = 0 if together else tokens
        if not together:
            return [None] * len(asked)
        started = now(self.base.device)
        losses = self._together(asked)
        self._count("together", (now(self.base.device) - started) / tokens)
        return losses

    def facts(self) -> dict[str, Any]:
        """Return which way the passes went after the trial, why if not together, and what the trial said."""
        tried, used = self._tried(), self._way()
        if self.refused:
            return {"used": used, "reason": self.refused}
        if tried is None:
            return {"used": "in turn", "reason": "the training ended before the trial did"}
        times = {f"seconds_a_token_{way}": round(seconds, 12) for way, seconds in tried.items()}
        return {"used": used, **({"reason": "passes together are not faster"} if used == "alone" else {}), **times}

    def _way(self) -> str:
        if self.refused:
            return "alone"
        if tried := self._tried():
            return "together" if tried["together"] <= self.gain * tried["alone"] else "alone"
        return min(self.seconds, key=lambda way: len(self.seconds[way]))

    def _count(self, way: str, seconds: float) -> None:
        if len(self.seconds[way]) < TRIAL:
            self.seconds[way].append(seconds)

    def _tried(self) -> dict[str, float] | None:
        """Return the median seconds of a token each way, once both have been tried."""
        if self.refused or min(len(times) for times in self.seconds.values()) < TRIAL:
            return None
        return {way: statistics.median(times[1:]) for way, times in self.seconds.items()}

    def _begin(self, asked: Sequence[Pass]) -> str:
        """Stack the adapters; return why that cannot be done, empty where it says what they say by themselves."""
        if any(one.number is None for one in asked):
            return "the model does not divide its loss by the tokens of a step"
        try:
            self._stacks = [Stack(self.base, [one.model for one in part]) for part in _parts(asked)]
        except ValueError as error:
            return str(error)
        with torch.no_grad():
            stacked = [learnt.loss.item() for found, _ in self._computed(asked) for learnt in found]
            alone = [_loss(one) for one in asked]
        worst = max(abs(ours - theirs) for ours, theirs in zip(stacked, alone, strict=True))
        return "" if worst <= EXACT else f"losses differ by {worst:.6f} from those of passes one after the other"

    def _computed(self, asked: Sequence[Pass]) -> Iterator[tuple[list[Learnt], Sequence[Pass]]]:
        """Compute the losses, as many adapters at a time as a pass takes."""
        for stack, part in zip(self._stacks, _parts(asked), strict=True):
            batches, divisors = zip(*(one.trainer.prepared(one) for one in part), strict=True)
            yield stack.losses(batches, divisors), part

    def _together(self, asked: Sequence[Pass]) -> list[torch.Tensor]:
        losses: list[torch.Tensor] = []
        for found, part in self._computed(asked):
            torch.autograd.backward([learnt.loss for learnt in found])
            for one, learnt in zip(part, found, strict=True):
                one.trainer.count(vars(learnt), one.tokens)
                losses.append(learnt.loss.detach())
        return losses


def _parts(asked: Sequence[Pass]) -> list[Sequence[Pass]]:
    return [asked[start : start + MOST] for start in range(0, len(asked), MOST)]


def _loss(asked: Pass) -> float:
    batch, divisor = asked.trainer.prepared(asked)
    return asked.model(**batch, use_cache=False, learnt_tokens=divisor)["loss"].item()


def train_together(
    jobs: Sequence[Job], rows: SupervisedRows, base: Any, tokenizer: Any, gain: float = GAIN
) -> list[dict[str, Any]]:
    """Train a LoRA adapter for each job on packed rows; write their ``model/`` and return the facts for their records.

    The jobs must have equally many passes. ``gain`` is the most that passes together may take of the time of passes one
    after the other, to be gone on with.
    """
    passes = Passes(base, gain)
    views = [sharing_weights(base) for _ in jobs]

    def training(job: Job, view: Any) -> Callable[[Meet], dict[str, Any]]:
        total = total_steps(job.recipe, len(rows.rows))

        def train(meet: Meet) -> dict[str, Any]:
            def build(trainable: Any) -> Any:
                trainer = build_trainer(LockstepTrainer, job, rows, trainable, tokenizer, total)
                trainer.meet = meet
                return trainer

            return carry_out(job, view, total, build)

        return train

    with ExitStack() as until_done:
        for model in (base.train(), *views):
            until_done.enter_context(packed_attention(model))
        found = in_lockstep([training(job, view) for job, view in zip(jobs, views, strict=True)], passes.answer)
    return [{"receipt": rows.receipt, "padded": None, **facts, "together": passes.facts()} for facts in found]
