"""Supervised fine-tuning through TRL on rows that are already tokenised."""

from __future__ import annotations

import math
import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import datasets
from transformers import PreTrainedModel
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from tunelab.models.packed_attention import packed_attention
from tunelab.models.supervised_head import add_supervised_head
from tunelab.training.job import Job, arguments, carry_out
from tunelab.training.packing import PackedTrainer, unpackable
from tunelab.training.recipe import Recipe
from tunelab.training.rows import SupervisedRows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Trainer = TypeVar("Trainer", bound=SFTTrainer)


def train_sft(
    job: Job, rows: SupervisedRows, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Any]:
    """Teach the targets of ``rows``; write ``model/`` and return the facts for the record.

    Rows are packed where the machine says so and the model can, else padded; the facts say which, and why.
    """
    total = total_steps(job.recipe, len(rows.rows))
    padded = _padded(job, rows, model)

    def build(trainable: Any) -> SFTTrainer:
        return build_trainer(SFTTrainer if padded else PackedTrainer, job, rows, trainable, tokenizer, total)

    with nullcontext() if padded else packed_attention(model):
        facts = carry_out(job, model, total, build)
    return {"receipt": rows.receipt, "padded": padded, **facts}


def build_trainer(
    kind: type[Trainer],
    job: Job,
    rows: SupervisedRows,
    trainable: Any,
    tokenizer: PreTrainedTokenizerBase,
    total: int,
) -> Trainer:
    """Make a trainer of a kind over the trainable model; one over packed rows gives it its head."""
    datasets.disable_progress_bars()
    packed = issubclass(kind, PackedTrainer)
    batch = arguments(job, total, job.recipe.batch_size)
    trainer = kind(
        model=trainable,
        args=SFTConfig(**batch, max_length=None, packing=False, padding_free=packed),
        train_dataset=datasets.Dataset.from_list(rows.rows),
        processing_class=tokenizer,
    )
    if packed:
        add_supervised_head(trainable.get_base_model() if job.recipe.adapter else trainable)
    return trainer


def _padded(job: Job, rows: SupervisedRows, model: PreTrainedModel) -> str | None:
    """Return why rows are padded, None where they are packed. Warns where packing was wanted."""
    if job.hardware.packing == "off":
        return "hardware.packing is off"
    exact = job.precision == "fp32" and job.recipe.adaptation != "qlora"
    if reason := unpackable(model, rows.rows, exact):
        warnings.warn(f"packing: rows are padded, as {reason}; hardware.packing: off says so", stacklevel=2)
    return reason


def total_steps(recipe: Recipe, rows: int) -> int:
    """Return the number of optimiser steps: a last, smaller batch of an epoch counts."""
    steps = math.ceil(math.ceil(rows / recipe.batch_size) * recipe.epochs)
    return min(steps, recipe.max_steps) if recipe.max_steps else steps
