"""How large a training's parts are, known without the libraries that train: planning asks for it too."""

from __future__ import annotations

from tunelab.models.device import Precision
from tunelab.training.recipe import Recipe

DRAWN_TOGETHER = 64
"""Completions that GRPO draws in one batch, unless a study says otherwise: then it is part of the identity."""


def weights_precision(recipe: Recipe, precision: str) -> Precision:
    """Return the type of the loaded weights: bf16 below an adapter that keeps fp32 itself, fp32 where all are trained.

    Full fine-tuning in bf16 computes under autocast over fp32 weights: bf16 would round small updates away. What
    stays beside 4-bit weights, norms and embeddings, is fp32 too, as QLoRA has it.
    """
    return "bf16" if precision == "bf16" and recipe.adaptation == "lora" else "fp32"


def rows_per_step(recipe: Recipe) -> int:
    """Return the rows that enter an optimiser step: those of the recipe, or the completions to them."""
    return recipe.batch_size * (recipe.grpo.num_generations if recipe.method == "grpo" else 1)


def largest_divisor(batch: int, limit: int) -> int:
    """Return the largest divisor of ``batch`` that is at most ``limit``."""
    return next(n for n in range(min(batch, limit), 0, -1) if batch % n == 0)
