"""Supervised fine-tuning through TRL on rows that are already tokenised."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import datasets
from transformers import PreTrainedModel
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from tunelab.training.job import Job, arguments, carry_out
from tunelab.training.recipe import Recipe
from tunelab.training.rows import SupervisedRows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def train_sft(
    job: Job, rows: SupervisedRows, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Any]:
    """Teach the targets of ``rows``; write ``model/`` and return the facts for the record."""
    total = total_steps(job.recipe, len(rows.rows))

    def build(trainable: Any) -> SFTTrainer:
        datasets.disable_progress_bars()
        return SFTTrainer(
            model=trainable,
            args=SFTConfig(**arguments(job, total, job.recipe.batch_size), max_length=None, packing=False),
            train_dataset=datasets.Dataset.from_list(rows.rows),
            processing_class=tokenizer,
        )

    return {"receipt": rows.receipt, **carry_out(job, model, total, build)}


def total_steps(recipe: Recipe, rows: int) -> int:
    """Return the number of optimiser steps: a last, smaller batch of an epoch counts."""
    steps = math.ceil(math.ceil(rows / recipe.batch_size) * recipe.epochs)
    return min(steps, recipe.max_steps) if recipe.max_steps else steps
