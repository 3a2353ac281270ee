"""Group relative policy optimisation (Shao et al. 2024) through TRL, with our prompts, rollouts and rewards.

The loop, advantages and loss are TRL's. The prompts are ids that our renderer made, their order is ours, the
rollouts come from the generator that evaluates, and the reward is the task's scorer: so training and evaluation see
the same tokens and mean the same by "right".
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import torch
from transformers import PreTrainedModel
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from tunelab.data.mixtures import TASK
from tunelab.data.sample import Sample
from tunelab.errors import DataError, StepError
from tunelab.files import read_lines
from tunelab.formats.renderer import Renderer
from tunelab.generation.local import stop_ids
from tunelab.generation.vllm import sampling
from tunelab.models.context import refuse_long_prompts
from tunelab.models.supervised_head import add_scored_places
from tunelab.tasks.task import Task
from tunelab.training.gold import GARBAGE, check_reward, first_of_each_task
from tunelab.training.groups import ROLLOUTS, fewest_together
from tunelab.training.job import Job, arguments, carry_out
from tunelab.training.judged import Ask, JudgedRewards
from tunelab.training.order import visits
from tunelab.training.recipe import Recipe
from tunelab.training.rollouts import Rollouts, questions
from tunelab.training.shared_prompts import SharedPromptTrainer, unsharable
from tunelab.training.sizes import rows_per_step

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def train_grpo(
    job: Job,
    samples: Sequence[Sample],
    task: Task,
    renderer: Renderer,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    judges: Mapping[str, Ask] | None = None,
    groups: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Reward what the task's scorer accepts; write ``model/`` and ``rollouts.jsonl``, return facts for the record.

    ``judges`` are asked where the recipe weighs them; ``groups`` are those of the tasks in balanced batches, by name.
    Raises DataError when the reward does not accept gold answers or accepts garbage, or when a judge does not tell
    them apart, StepError when no group of completions ever differs in reward, or when a trained adapter does not change
    the model's output.
    """
    judged = JudgedRewards(task, job.recipe.grpo.rewards, judges or {})
    checked = [sample for members in first_of_each_task(samples).values() for sample in members]
    refused = check_reward(task, checked)
    judged.check(checked, GARBAGE)
    total = total_steps(job.recipe, len(samples))
    kinds = {s.id: (groups[s.metadata[TASK]], s.metadata[TASK]) for s in samples} if groups else None
    order = visits([sample.id for sample in samples], job.recipe.batch_size, total, job.seed, kinds)
    rollouts = Rollouts(job, questions(samples, task, renderer), task, renderer, judged)
    budget = job.recipe.grpo.max_new_tokens or task.max_new_tokens
    engine = vllm_config(rollouts.longest, stop_ids(model, renderer)) if job.hardware.rollouts == "vllm" else None
    refuse_long_prompts({i: len(q.ids) for i, q in rollouts.questions.items()}, budget, model.config)

    padded = _padded(job, rollouts, model)

    def build(trainable: Any) -> GRPOTrainer:
        datasets.disable_progress_bars()
        os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
        trainer = (GRPOTrainer if padded else SharedPromptTrainer)(
            model=trainable,
            reward_funcs=[rollouts.reward],
            args=grpo_config(job, total, budget, model, engine),
            train_dataset=datasets.Dataset.from_list([{"prompt": sample_id} for sample_id in order]),
            processing_class=tokenizer,
            rollout_func=rollouts.generate,
            callbacks=[rollouts],
        )
        if isinstance(trainer, SharedPromptTrainer):
            trainer.policy = model
            add_scored_places(model, trainer.temperature)
        return trainer

    facts = carry_out(job, model, total, build)
    if job.recipe.adapter and rollouts.sampled is not None:
        facts["adapter_effect"] = adapter_effect(rollouts.sampled, rollouts.questions[samples[0].id].ids)
    made = {"padded": padded, "generation": rollouts.drawn_by}
    return {"receipt": receipt(job, len(samples)) | {"gold_refused": refused}, **made, **facts}


def _padded(job: Job, rollouts: Rollouts, model: PreTrainedModel) -> str | None:
    """Return why completions are padded in training, None where they share their prompts.

    Before the first update policy and reference are equal, and the divergence has no gradient. Were the two computed
    in other ways, rounding would be one, and AdamW makes a whole step of the smallest gradient.
    """
    if job.hardware.packing == "off":
        return "hardware.packing is off"
    if job.hardware.gradient_checkpointing:
        return "activations are computed again in the backward pass"
    if job.recipe.grpo.beta:
        return "grpo.beta compares with a reference, to the last bit"
    exact = job.precision == "fp32" and job.recipe.adaptation != "qlora"
    prompts = [question.ids for question in rollouts.questions.values()]
    if reason := unsharable(model, prompts, exact):
        warnings.warn(f"packing: completions are padded, as {reason}; hardware.packing: off says so", stacklevel=2)
    return reason


def vllm_config(longest: int, stops: set[int]) -> dict[str, Any]:
    """Return TRL's settings for vLLM in this process, on sequences of at most ``longest`` tokens."""
    return {
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_max_model_length": longest,
        "generation_kwargs": sampling(stops),
    }


def grpo_config(
    job: Job, total: int, budget: int, model: PreTrainedModel, engine: Mapping[str, Any] | None = None
) -> GRPOConfig:
    """Translate a recipe: ``batch_size`` prompts, each with ``num_generations`` completions, enter a step.

    The order of the prompts is made beforehand. TRL would shuffle anew each epoch from a generator that a resumed
    run starts from the beginning, and so repeat the first epoch.
    """
    grpo = job.recipe.grpo
    settings = arguments(job, total, rows_per_step(job.recipe))
    settings |= {
        "max_steps": total,
        "shuffle_dataset": False,
        "num_generations": grpo.num_generations,
        "beta": grpo.beta,
        "temperature": grpo.temperature,
        "top_p": grpo.top_p,
        "max_completion_length": budget,
        "loss_type": grpo.loss_type,
        "scale_rewards": grpo.scale_rewards,
        **(engine or {}),
    }
    commit = getattr(model.config, "_commit_hash", None)
    if grpo.beta and commit and not Path(model.config.name_or_path or "").is_dir():
        settings["model_init_kwargs"] = {"revision": commit}  # of the reference, which TRL loads by name
    return GRPOConfig(**settings)


def total_steps(recipe: Recipe, prompts: int) -> int:
    """Return the number of optimiser steps: whole batches of prompts, epoch after epoch."""
    if prompts < recipe.batch_size:
        raise DataError(f"grpo: got {prompts} prompts, expected at least batch_size = {recipe.batch_size}; lower it")
    steps = math.floor(round(prompts // recipe.batch_size * recipe.epochs, 9))
    return max(1, min(steps, recipe.max_steps) if recipe.max_steps else steps)


def receipt(job: Job, prompts: int) -> dict[str, int]:
    """Count the prompts there were, those that were visited (the rows used), the visits, and the smallest batch."""
    rows = read_lines(job.directory / ROLLOUTS)
    visited = {"prompts": prompts, "rows": len({row["id"] for row in rows}), "visits": len(rows)}
    return visited | {"drawn_together": fewest_together(rows, job.hardware.rollout_batch_size)}


def adapter_effect(model: Any, ids: Sequence[int]) -> float:
    """Return the largest change of a log-probability that the adapter makes on a prompt.

    Raises StepError when a trained adapter makes none: the model that was sampled from does not hear it.
    """
    tokens = torch.tensor([list(ids)], device=model.device)
    model.eval()
    with torch.inference_mode():
        on = torch.log_softmax(model(input_ids=tokens).logits.float(), dim=-1)
        with model.disable_adapter():
            off = torch.log_softmax(model(input_ids=tokens).logits.float(), dim=-1)
    effect = float((on - off).abs().max())
    moved = any(bool(weight.detach().any()) for name, weight in model.named_parameters() if "lora_B" in name)
    if moved and effect == 0:
        raise StepError("grpo: the trained adapter does not change the output of the model that made the rollouts")
    return effect
