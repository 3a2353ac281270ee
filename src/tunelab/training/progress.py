"""What a training writes down while it runs: progress, ``metrics.jsonl``, and checkpoints when they are due."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from tunelab.files import append_lines, resume_lines, write_lines
from tunelab.training.checkpoints import mark_whole, save_steps

METRICS = "metrics.jsonl"
COUNT = "_total_train_tokens"
"""What TRL's SFTTrainer logs as ``num_tokens``."""


class Progress(TrainerCallback):
    """Reports steps, writes ``metrics.jsonl``, and marks checkpoints that are whole."""

    def __init__(
        self, directory: Path, scratch: Path, total: int, saves: int, report: Callable[[int, int, str], None]
    ) -> None:
        self._metrics = directory / METRICS
        self._scratch = scratch
        self._total = total
        self._saves = save_steps(total, saves)
        self._report = report

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forget what was logged after the checkpoint that training resumes from."""
        kept = [row for row in resume_lines(self._metrics) if row["step"] <= state.global_step]
        write_lines(self._metrics, kept)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report progress, and save where a checkpoint is due."""
        control.should_save = state.global_step in self._saves
        self._report(state.global_step, self._total, "steps")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Append one line of metrics; the trainer's summary at the end has no loss of its own and is left out."""
        if logs and "loss" in logs:
            append_lines(self._metrics, [{"step": state.global_step, **plain(logs)}])

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mark a checkpoint as whole."""
        mark_whole(self._scratch / f"checkpoint-{state.global_step}")


class TokensSeen(TrainerCallback):
    """Keeps with each checkpoint how many tokens TRL's trainer has counted: when it resumes, it counts from 0."""

    def __init__(self, trainer: Any, scratch: Path) -> None:
        self._trainer = trainer
        self._scratch = scratch

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Go on counting where the checkpoint ended."""
        kept = self._of(state)
        if hasattr(self._trainer, COUNT) and kept.exists():
            setattr(self._trainer, COUNT, int(kept.read_text(encoding="utf-8")))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the count down."""
        if hasattr(self._trainer, COUNT):
            self._of(state).write_text(str(int(getattr(self._trainer, COUNT))), encoding="utf-8")

    def _of(self, state: Any) -> Path:
        return self._scratch / f"checkpoint-{state.global_step}" / "tokens_seen"


def last_metrics(directory: Path) -> dict[str, Any]:
    """Return the last logged metrics of a training, empty when there are none."""
    rows = resume_lines(directory / METRICS)
    return rows[-1] if rows else {}


def plain(value: dict[str, Any]) -> dict[str, Any]:
    """Keep what JSON can hold: numbers, texts, flags, lists and maps of them. Not-a-number becomes null."""
    return {k: _simple(v) for k, v in value.items()}


def _simple(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return plain(value)
    return [_simple(v) for v in value] if isinstance(value, list | tuple) else str(value)
