"""Group relative policy optimisation (Shao et al. 2024) through TRL, with our prompts, rollouts and rewards.

The loop, advantages and loss are TRL's. The prompts are ids that our renderer made, the rollouts come from the
generator that evaluates, and the reward is the task's scorer: so training and evaluation see the same tokens and
mean the same by "right". Draws are keyed by seed, step and sample, so a resumed run draws what an undisturbed one
would have drawn. ``rollouts.jsonl`` keeps, for every step, which prompts were visited and what they earned.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import datasets
import torch
from transformers import PreTrainedModel, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from tunelab.data.sample import Sample
from tunelab.errors import DataError, StepError
from tunelab.files import append_lines, resume_lines, write_lines
from tunelab.formats.renderer import Renderer
from tunelab.generation.decoding import Decoding, Request
from tunelab.generation.local import LocalGenerator
from tunelab.scoring.score import Score
from tunelab.tasks.task import Task
from tunelab.training.job import Job, arguments, carry_out
from tunelab.training.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROLLOUTS = "rollouts.jsonl"
GOLD_CHECKED = 20
PATIENCE = 20
"""Steps without any difference within any group after which a run is given up: it cannot learn."""


@dataclass(frozen=True)
class Question:
    """A training sample with its rendered prompt."""

    sample: Sample
    text: str
    ids: list[int]


def train_grpo(
    job: Job,
    samples: Sequence[Sample],
    task: Task,
    renderer: Renderer,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> dict[str, Any]:
    """Reward what the task's scorer accepts; write ``model/`` and ``rollouts.jsonl``, return facts for the record.

    Raises DataError when the reward does not accept gold answers or accepts garbage, StepError when no group of
    completions ever differs in reward, or when a trained adapter does not change the model's output.
    """
    check_reward(task, samples[:GOLD_CHECKED])
    total = total_steps(job.recipe, len(samples))
    rollouts = Rollouts(job, questions(samples, task, renderer), task, renderer)

    def build(trainable: Any) -> GRPOTrainer:
        datasets.disable_progress_bars()
        os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
        trainer = GRPOTrainer(
            model=trainable,
            reward_funcs=[rollouts.reward],
            args=grpo_config(job, total),
            train_dataset=datasets.Dataset.from_list([{"prompt": sample.id} for sample in samples]),
            processing_class=tokenizer,
            rollout_func=rollouts.generate,
            callbacks=[rollouts],
        )
        rollouts.trainable = trainable
        return trainer

    facts = carry_out(job, model, total, build)
    if job.recipe.adaptation == "lora":
        facts["adapter_effect"] = adapter_effect(rollouts.trainable, rollouts.questions[samples[0].id].ids)
    return {"receipt": {"prompts": len(samples)}, **facts}


def grpo_config(job: Job, total: int) -> GRPOConfig:
    """Translate a recipe: ``batch_size`` prompts, each with ``num_generations`` completions, enter a step."""
    grpo = job.recipe.grpo
    settings = arguments(job, total, job.recipe.batch_size * grpo.num_generations)
    settings |= {
        "max_steps": total,
        "num_generations": grpo.num_generations,
        "beta": grpo.beta,
        "temperature": grpo.temperature,
        "top_p": grpo.top_p,
        "max_completion_length": grpo.max_new_tokens,
        "loss_type": grpo.loss_type,
        "scale_rewards": grpo.scale_rewards,
    }
    return GRPOConfig(**settings)


def total_steps(recipe: Recipe, prompts: int) -> int:
    """Return the number of optimiser steps: whole batches of prompts, epoch after epoch."""
    if prompts < recipe.batch_size:
        raise DataError(f"grpo: got {prompts} prompts, expected at least batch_size = {recipe.batch_size}; lower it")
    steps = int(prompts // recipe.batch_size * recipe.epochs)
    return max(1, min(steps, recipe.max_steps) if recipe.max_steps else steps)


def questions(samples: Sequence[Sample], task: Task, renderer: Renderer) -> dict[str, Question]:
    """Render every prompt once, by sample id."""
    rendered = ((s, renderer.prompt(task.messages(s))) for s in samples)
    return {s.id: Question(s, prompt.text, prompt.ids) for s, prompt in rendered}


def check_reward(task: Task, samples: Sequence[Sample]) -> None:
    """Raise DataError unless gold answers earn 1 and garbage 0: a reward that never fires teaches nothing."""
    for sample in samples:
        gold, garbage = (
            reward_of(task, task.score(sample, task.target(sample))),
            reward_of(task, task.score(sample, "?")),
        )
        if gold != 1 or garbage != 0:
            raise DataError(
                f"reward of task {task.name} on {sample.id}: got {gold} for its own target and {garbage} for '?', "
                "expected 1 and 0; mend the scorer or the targets"
            )


def reward_of(task: Task, score: Score) -> float | None:
    """Return the headline's value, or None for an output that could not be scored: no reward is not zero."""
    return score.values.get(task.metrics[0].name)


class Rollouts(TrainerCallback):
    """Makes completions for the trainer, scores them, and keeps a line a prompt."""

    def __init__(self, job: Job, asked: dict[str, Question], task: Task, renderer: Renderer) -> None:
        self.questions = asked
        self.trainable: Any = None
        self._job = job
        self._task = task
        self._renderer = renderer
        self._path = job.directory / ROLLOUTS
        self._still = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forget rollouts after the checkpoint that training resumes from."""
        write_lines(self._path, [row for row in resume_lines(self._path) if row["step"] < state.global_step])

    def generate(self, prompts: list[str], trainer: GRPOTrainer) -> dict[str, Any]:
        """Return prompt and completion ids for sample ids, each of which occurs once per completion wanted."""
        grpo = self._job.recipe.grpo
        seed = self._job.seed * 1_000_003 + trainer.state.global_step
        decoding = Decoding(grpo.max_new_tokens or self._task.max_new_tokens, grpo.temperature, grpo.top_p, seed=seed)
        model: Any = trainer.accelerator.unwrap_model(trainer.model)
        generator = LocalGenerator(model, self._renderer, decoding, self._task.stop)
        requests = self._requests(prompts)
        model.eval()
        drawn = [ids for start in range(0, len(requests), 64) for ids in generator.draw(requests[start : start + 64])]
        model.train()
        answers = [generator.output(request, ids).output for request, ids in zip(requests, drawn, strict=True)]
        return {
            "prompt_ids": [request.ids for request in requests],
            "completion_ids": drawn,
            "logprobs": None,
            "answer": answers,
        }

    def reward(self, prompts: list[str], answer: list[str], trainer_state: Any, **columns: Any) -> list[float | None]:
        """Score answers with the task's scorer; None where an answer could not be scored."""
        scores = [self._task.score(self.questions[i].sample, text) for i, text in zip(prompts, answer, strict=True)]
        rewards = [reward_of(self._task, score) for score in scores]
        self._keep(prompts, rewards, trainer_state.global_step)
        return rewards

    def _requests(self, prompts: Sequence[str]) -> list[Request]:
        drawn: dict[str, int] = {}
        requests: list[Request] = []
        for sample_id in prompts:
            question, index = self.questions[sample_id], drawn.get(sample_id, 0)
            drawn[sample_id] = index + 1
            requests.append(Request(sample_id, index, question.text, question.ids))
        return requests

    def _keep(self, prompts: Sequence[str], rewards: Sequence[float | None], step: int) -> None:
        """Append a line a group; give up when no group has differed for ``PATIENCE`` steps from the start."""
        groups: dict[str, list[float | None]] = {}
        for sample_id, reward in zip(prompts, rewards, strict=True):
            groups.setdefault(sample_id, []).append(reward)
        append_lines(self._path, [{"step": step, "id": i, "rewards": found} for i, found in groups.items()])
        varied = any(len(set(found)) > 1 for found in groups.values())
        self._still = -1 if varied or self._still < 0 else self._still + 1
        if self._still >= PATIENCE:
            raise StepError(
                f"grpo: in {PATIENCE} steps no group of {self._job.recipe.grpo.num_generations} completions differed "
                "in reward, so nothing can be learnt; raise temperature or num_generations, or use easier rows"
            )


def adapter_effect(model: Any, ids: Sequence[int]) -> float:
    """Return the largest change of a log-probability that the adapter makes on a prompt. StepError when it is 0."""
    tokens = torch.tensor([list(ids)], device=model.device)
    with torch.inference_mode():
        on = torch.log_softmax(model(input_ids=tokens).logits.float(), dim=-1)
        with model.disable_adapter():
            off = torch.log_softmax(model(input_ids=tokens).logits.float(), dim=-1)
    effect = float((on - off).abs().max())
    if effect == 0:
        raise StepError(
            "grpo: the trained adapter does not change the model's output; the policy was not sampled from it"
        )
    return effect
