"""Supervised fine-tuning through TRL on rows that are already tokenised.

Ours are the rows, the seed, the checkpoints' soundness and what is written down; the loop is TRL's. The seed is
set right before the adapter is made, so arms with equal seeds start from equal weights, and the hash of the
initial adapter is recorded to prove it. A checkpoint counts only once its marker is written: a kill while
saving leaves a folder without one, which the next attempt removes.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel, PrinterCallback, TrainerCallback, set_seed
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from tunelab.files import append_lines, resume_lines, sync_file, write_lines
from tunelab.training.recipe import Recipe
from tunelab.training.rows import SupervisedRows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MARKER = "complete"
RESUME_POINTS = 4
METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Hardware:
    """What may differ between machines without changing the experiment."""

    device: str
    micro_batch_size: int
    gradient_checkpointing: bool
    track: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """Everything one training needs."""

    recipe: Recipe
    precision: str
    seed: int
    rows: SupervisedRows
    hardware: Hardware
    directory: Path
    scratch: Path
    progress: Callable[[int, int, str], None]


def train(job: Job, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Train, or go on from the last sound checkpoint; write ``model/`` and return the facts for the record."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    facts: dict[str, Any] = {"receipt": job.rows.receipt}
    set_seed(job.seed)
    trainable: Any = model
    if job.recipe.adaptation == "lora":
        trainable, facts["initial_adapter_sha256"] = add_adapter(model, job.recipe)
    resume = last_checkpoint(job.scratch)
    with trackers(job.hardware.track, job.directory):
        trainer = make_trainer(job, trainable, tokenizer)
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    trainer.save_model(str(job.directory / "model"))
    (job.directory / "model" / "training_args.bin").unlink(missing_ok=True)
    keep_checkpoints(job)
    facts["steps"] = trainer.state.global_step
    facts["final_loss"] = last_loss(job.directory)
    facts["resolved"] = _plain(trainer.args.to_dict())
    return facts


def make_trainer(job: Job, model: Any, tokenizer: PreTrainedTokenizerBase) -> SFTTrainer:
    """Build TRL's trainer over our rows."""
    import datasets

    datasets.disable_progress_bars()
    rows = datasets.Dataset.from_list(job.rows.rows)
    total = total_steps(job.recipe, len(rows))
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(**arguments(job, total)),
        train_dataset=rows,
        processing_class=tokenizer,
        callbacks=[Progress(job, total)],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def arguments(job: Job, total: int) -> dict[str, Any]:
    """Translate a recipe into the trainer's arguments; everything not named here is recorded as resolved."""
    recipe, hardware = job.recipe, job.hardware
    micro = largest_divisor(recipe.batch_size, hardware.micro_batch_size)
    return {
        "output_dir": str(job.scratch),
        "seed": job.seed,
        "data_seed": job.seed,
        "learning_rate": recipe.lr,
        "num_train_epochs": recipe.epochs,
        "max_steps": recipe.max_steps or -1,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": recipe.batch_size // micro,
        "weight_decay": recipe.weight_decay,
        "warmup_steps": math.ceil(recipe.warmup * total),
        "lr_scheduler_type": recipe.schedule,
        "max_grad_norm": recipe.max_grad_norm,
        "max_length": None,
        "packing": False,
        "bf16": job.precision == "bf16",
        "use_cpu": hardware.device == "cpu",
        "gradient_checkpointing": None,
        "activation_checkpointing": hardware.gradient_checkpointing,
        "save_strategy": "steps",
        "save_steps": max(1, math.ceil(total / (recipe.checkpoints or RESUME_POINTS))),
        "save_total_limit": None if recipe.checkpoints else 2,
        "logging_steps": max(1, total // 100),
        "disable_tqdm": True,
        "report_to": list(hardware.track) or "none",
        "run_name": job.directory.name,
        "dataloader_pin_memory": hardware.device == "cuda",
    }


def total_steps(recipe: Recipe, rows: int) -> int:
    """Return the number of optimiser steps: a last, smaller batch of an epoch counts."""
    steps = math.ceil(math.ceil(rows / recipe.batch_size) * recipe.epochs)
    return min(steps, recipe.max_steps) if recipe.max_steps else steps


def largest_divisor(batch: int, limit: int) -> int:
    """Return the largest divisor of ``batch`` that is at most ``limit``."""
    return next(n for n in range(min(batch, limit), 0, -1) if batch % n == 0)


def add_adapter(model: PreTrainedModel, recipe: Recipe) -> tuple[Any, str]:
    """Wrap a model with a fresh LoRA adapter; return it with the sha256 of the adapter's initial weights."""
    from peft import LoraConfig, get_peft_model

    lora = recipe.lora
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=lora.dropout,
        target_modules=lora.targets if isinstance(lora.targets, str) else list(lora.targets),
    )
    wrapped = get_peft_model(model, config)
    digest = hashlib.sha256()
    for name, weight in sorted(wrapped.named_parameters()):
        if weight.requires_grad:
            digest.update(name.encode())
            digest.update(weight.detach().float().cpu().numpy().tobytes())
    return wrapped, digest.hexdigest()


class Progress(TrainerCallback):
    """Reports steps, writes ``metrics.jsonl``, and marks checkpoints that are whole."""

    def __init__(self, job: Job, total: int) -> None:
        self._job = job
        self._total = total
        self._metrics = job.directory / METRICS

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forget what was logged after the checkpoint that training resumes from."""
        kept = [row for row in resume_lines(self._metrics) if row["step"] <= state.global_step]
        write_lines(self._metrics, kept)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report progress."""
        self._job.progress(state.global_step, self._total, "steps")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Append one line of metrics; the trainer's summary at the end has no loss of its own and is left out."""
        if logs and "loss" in logs:
            append_lines(self._metrics, [{"step": state.global_step, **_plain(logs)}])

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mark a checkpoint as whole once all of it is on the disk."""
        folder = self._job.scratch / f"checkpoint-{state.global_step}"
        for path in folder.rglob("*"):
            if path.is_file():
                sync_file(path)
        (folder / MARKER).touch()


def last_checkpoint(scratch: Path) -> Path | None:
    """Return the newest whole checkpoint; remove those that a kill left half-written."""
    whole: list[Path] = []
    for folder in scratch.glob("checkpoint-*"):
        if (folder / MARKER).exists():
            whole.append(folder)
        else:
            shutil.rmtree(folder)
    return max(whole, key=lambda f: int(f.name.rpartition("-")[2]), default=None)


def keep_checkpoints(job: Job) -> None:
    """Keep the checkpoints that the recipe asks for, weights only; the scratch folder stays fit to resume from."""
    if not job.recipe.checkpoints:
        return
    for folder in job.scratch.glob("checkpoint-*"):
        target = job.directory / "checkpoints" / f"step-{int(folder.name.rpartition('-')[2]):06d}"
        target.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.suffix in (".safetensors", ".json") and path.name != "trainer_state.json":
                _link_or_copy(path, target / path.name)


def _link_or_copy(path: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(path)
    except OSError:
        shutil.copyfile(path, target)


def last_loss(directory: Path) -> float | None:
    """Return the last logged training loss."""
    rows = resume_lines(directory / METRICS)
    return rows[-1]["loss"] if rows else None


@contextmanager
def trackers(names: tuple[str, ...], directory: Path) -> Generator[None]:
    """Keep TensorBoard's files with the step, and give every training a W&B run of its own.

    W&B and Trackio write where they always do; a process trains several variants, and W&B would log them as one.
    """
    place = "TENSORBOARD_LOGGING_DIR"
    ours = "tensorboard" in names and place not in os.environ
    if ours:
        os.environ[place] = str(directory / "tensorboard")
    try:
        yield
    finally:
        if ours:
            del os.environ[place]
        if "wandb" in names:
            import wandb

            wandb.finish()


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """Keep what JSON can hold: numbers, texts, flags, lists and maps of them. Not-a-number becomes null."""
    return {k: _simple(v) for k, v in value.items()}


def _simple(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return _plain(value)
    return [_simple(v) for v in value] if isinstance(value, list | tuple) else str(value)
