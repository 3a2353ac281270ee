"""One training: what it needs, and what every trainer has in common.

Ours are the seed, the checkpoints' soundness and what is written down; the loop is the library's. The seed is set
right before the adapter is made, so arms with equal seeds start from equal weights, and the hash of the initial
adapter is recorded to prove it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from transformers import PreTrainedModel, PrinterCallback, set_seed

from tunelab.errors import StudyError
from tunelab.models.kind import Kind, kind_of
from tunelab.models.memory import hand_freed_memory_back
from tunelab.training.checkpoints import keep_checkpoints, last_checkpoint
from tunelab.training.progress import Progress, TokensSeen, last_metrics, plain
from tunelab.training.recipe import Recipe
from tunelab.training.sizes import DRAWN_TOGETHER, largest_divisor
from tunelab.training.trackers import trackers

TASK_TYPES: dict[Kind, str] = {"causal": "CAUSAL_LM", "encoder-decoder": "SEQ_2_SEQ_LM"}
"""PEFT's names."""
RESUME_POINTS = 4
"""Checkpoints that a training makes to resume from when the recipe keeps none."""


@dataclass(frozen=True)
class Hardware:
    """What the machine decides; what of it changes a result is identity elsewhere."""

    device: str
    micro_batch_size: int
    gradient_checkpointing: bool
    track: tuple[str, ...]
    rollouts: Literal["local", "vllm"] = "local"
    rollout_batch_size: int = DRAWN_TOGETHER
    """Completions drawn together."""
    generation: Literal["auto", "plain"] = "auto"
    """What draws them locally: the engine where it computes what the model does, or transformers' generate."""
    packing: Literal["auto", "off"] = "auto"
    """Whether rows of a forward pass lie end to end, or share their prompts, where they can, or are padded."""


@dataclass(frozen=True)
class Job:
    """Everything one training needs besides its rows."""

    recipe: Recipe
    precision: str
    seed: int
    hardware: Hardware
    directory: Path
    scratch: Path
    progress: Callable[[int, int, str], None]


def carry_out(job: Job, model: PreTrainedModel, total: int, build: Callable[[Any], Any]) -> dict[str, Any]:
    """Train, or go on from the last whole checkpoint; write ``model/`` and return the facts for the record.

    ``build`` makes a transformers Trainer over the trainable model; ``total`` is its number of optimiser steps.
    """
    facts: dict[str, Any] = {}
    if job.hardware.gradient_checkpointing and job.hardware.device == "cpu":
        hand_freed_memory_back()  # until the next model is loaded
    set_seed(job.seed)
    trainable: Any = model
    if job.recipe.adapter:
        trainable, facts["initial_adapter_sha256"] = add_adapter(model, job.recipe)
    resume = last_checkpoint(job.scratch)
    with trackers(job.hardware.track, job.directory):
        trainer = _built(build, trainable)
        saves = job.recipe.checkpoints or RESUME_POINTS
        trainer.add_callback(TokensSeen(trainer, job.scratch))
        trainer.add_callback(Progress(job.directory, job.scratch, total, saves, job.progress))
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    trainer.save_model(str(job.directory / "model"))
    (job.directory / "model" / "training_args.bin").unlink(missing_ok=True)
    if job.recipe.checkpoints:
        keep_checkpoints(job.scratch, job.directory)
    facts["steps"] = trainer.state.global_step
    facts["final_loss"] = last_metrics(job.directory).get("loss")
    facts["resolved"] = plain(trainer.args.to_dict())
    return facts


def _built(build: Callable[[Any], Any], trainable: Any) -> Any:
    """Build a trainer and leave the trained weights as they were made: over 4-bit weights TRL rounds them to bf16."""
    made = {name: weight.data for name, weight in trainable.named_parameters() if weight.requires_grad}
    trainer = build(trainable)
    for name, weight in trainable.named_parameters():
        if name in made and weight.dtype != made[name].dtype:
            weight.data = made[name]
    _leave_cards_out(trainer)
    return trainer


def _leave_cards_out(trainer: Any) -> None:
    """Have no template of a model card rendered at every checkpoint: ours is written when a model is pushed."""
    trainer.create_model_card = _write_no_card
    if hasattr(trainer.model, "create_or_update_model_card"):
        trainer.model.create_or_update_model_card = _write_no_card


def _write_no_card(*told: Any, **more: Any) -> None:
    """Stand in for what TRL and PEFT call with the folder of a checkpoint."""


def arguments(job: Job, total: int, batch: int) -> dict[str, Any]:
    """Translate a recipe into the arguments that all trainers share; ``batch`` rows enter an optimiser step."""
    recipe, hardware = job.recipe, job.hardware
    micro = largest_divisor(batch, hardware.micro_batch_size)
    return {
        "output_dir": str(job.scratch),
        "seed": job.seed,
        "data_seed": job.seed,
        "learning_rate": recipe.lr,
        "num_train_epochs": recipe.epochs,
        "max_steps": total if recipe.max_steps else -1,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": batch // micro,
        "weight_decay": recipe.weight_decay,
        "warmup_steps": math.ceil(recipe.warmup * total),
        "lr_scheduler_type": recipe.schedule,
        "max_grad_norm": recipe.max_grad_norm,
        "bf16": job.precision == "bf16",
        "use_cpu": hardware.device == "cpu",
        "gradient_checkpointing": None,
        "activation_checkpointing": hardware.gradient_checkpointing,
        "save_strategy": "no",
        "save_total_limit": None if recipe.checkpoints else 2,
        "logging_steps": max(1, total // 100),
        "disable_tqdm": True,
        "report_to": list(hardware.track) or "none",
        "run_name": job.directory.name,
        "dataloader_pin_memory": hardware.device == "cuda",
    }


def add_adapter(model: PreTrainedModel, recipe: Recipe) -> tuple[Any, str]:
    """Wrap a model with a fresh LoRA adapter; return it with the sha256 of the adapter's initial weights."""
    from peft import LoraConfig, get_peft_model

    from tunelab.models.lora_layers import add_in_place

    lora = recipe.lora
    refuse_unknown_targets(model, lora.targets)
    config = LoraConfig(
        task_type=TASK_TYPES[kind_of(model.config)] if recipe.head == "lm" else "FEATURE_EXTRACTION",
        r=lora.rank,
        lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=lora.dropout,
        target_modules=lora.targets if isinstance(lora.targets, str) else list(lora.targets),
    )
    wrapped = get_peft_model(model, config)
    add_in_place(wrapped)
    _in_order(wrapped)
    digest = hashlib.sha256()
    for name, weight in sorted(wrapped.named_parameters()):
        if weight.requires_grad:
            digest.update(name.encode())
            digest.update(weight.detach().float().cpu().numpy().tobytes())
    return wrapped, digest.hexdigest()


def _in_order(wrapped: Any) -> None:
    """Sort the modules that an adapter's configuration names: PEFT writes a set, in another order each process."""
    for config in wrapped.peft_config.values():
        if isinstance(config.target_modules, set):
            config.target_modules = sorted(config.target_modules)


def refuse_unknown_targets(model: PreTrainedModel, targets: str | tuple[str, ...]) -> None:
    """Raise StudyError for a declared target that names no module: PEFT is content when one of them does."""
    if isinstance(targets, str):
        return
    adaptable = [name for name, module in model.named_modules() if is_adaptable(module)]
    unknown = [target for target in targets if not any(f".{name}".endswith(f".{target}") for name in adaptable)]
    if unknown:
        known = sorted({name.rpartition(".")[2] for name in adaptable})
        raise StudyError(
            f"lora.targets: got {', '.join(unknown)}, expected modules of this {model.config.model_type} model: "
            f"{', '.join(known)}; use these or all-linear"
        )


def is_adaptable(module: Any) -> bool:
    """Say whether an adapter can be put on a module: it has no parts, and a weight that is a matrix or larger."""
    weight = getattr(module, "weight", None)
    return weight is not None and weight.dim() > 1 and next(module.children(), None) is None
