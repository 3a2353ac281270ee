"""Group relative policy optimisation (Shao et al. 2024) without a trainer: the whole loop on the bundled model.

Each step draws a group of answers to each of a few prompts, scores them with the task's scorer, and makes answers
that beat their group's mean likelier and the others less likely. Prompts, draws and order are those of
``method: grpo`` in a study: the rollouts come from the generator that evaluates, with draws keyed by step and sample.
About half a minute on one CPU.

One update is made per rollout, so the ratio of new to old policy is 1 and its clipping never acts: the gradient is
that of the log-likelihood weighted by the advantage. The study's trainer has the ratio, and adds the KL penalty,
other normalisations, LoRA, bf16 and devices, resume without skipping a prompt, a check of the reward on gold answers,
giving up when no group differs, and the record of rollouts and settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tunelab import Format
from tunelab.data.sample import Sample
from tunelab.data.subsets import subset
from tunelab.formats.renderer import Renderer
from tunelab.generation.decoding import Decoding, Request
from tunelab.generation.local import LocalGenerator
from tunelab.models.load import load_model, load_tokenizer
from tunelab.models.spec import resolve
from tunelab.scoring.score import Outcome
from tunelab.stats import wilson
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import load_samples
from tunelab.tasks.task import Task
from tunelab.training.order import visits

STEPS = 30
PROMPTS = 16
COMPLETIONS = 8
TEST_ROWS = 200
LEARNING_RATE = 3e-5
TEMPERATURE = 1.0
MAX_GRAD_NORM = 1.0
SEED = 0

STD_FLOOR = 1e-4
"""Added to a group's standard deviation, which is 0 where all answers are right or all wrong; TRL's value."""


def main() -> tuple[float, float]:
    """Train on each prompt once; return the accuracy before and after."""
    task = find_task("arithmetic")
    renderer = Renderer(load_tokenizer(resolve("tiny")), Format(template="chat"))
    model = load_model(resolve("tiny"), "cpu", "fp32")
    train = subset(load_samples(task, "train", None), STEPS * PROMPTS, seed=0)
    test = subset(load_samples(task, "test", None), TEST_ROWS, seed=0)
    before = accuracy("before", model, renderer, task, test)

    by_id = {sample.id: sample for sample in train}
    order = visits(list(by_id), PROMPTS, STEPS, SEED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / STEPS)
    for step in range(STEPS):
        # Roll out: a group of answers to each prompt, a draw's randomness fixed by step, sample and index.
        samples = [by_id[i] for i in order[step * PROMPTS : (step + 1) * PROMPTS] for _ in range(COMPLETIONS)]
        requests = make_requests(samples, renderer, task)
        decoding = Decoding(task.max_new_tokens, TEMPERATURE, seed=SEED * 1_000_003 + step)
        generator = LocalGenerator(model, renderer, decoding, task.stop)
        drawn = [ids for start in range(0, len(requests), 64) for ids in generator.draw(requests[start : start + 64])]

        # Reward: what the scorer accepts, relative to the group.
        answers = [generator.output(request, ids).output for request, ids in zip(requests, drawn, strict=True)]
        rewards = torch.tensor([reward(task, sample, a) for sample, a in zip(samples, answers, strict=True)])
        groups = rewards.view(PROMPTS, COMPLETIONS)
        advantages = (groups - groups.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + STD_FLOOR)

        # Update: the mean over all drawn tokens of the batch (DAPO, Yu et al. 2025), not over answers.
        model.train()
        logps, mask = completion_logps(model, [request.ids for request in requests], drawn)
        loss = -(advantages.view(-1, 1) * logps * mask).sum() / mask.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        model.eval()
        if (step + 1) % 5 == 0:
            same = (groups.std(1) == 0).float().mean().item()
            print(f"step {step + 1:2d} of {STEPS}: reward {rewards.mean():.3f}, groups without a difference {same:.2f}")

    return before, accuracy("after", model, renderer, task, test)


def make_requests(samples: Sequence[Sample], renderer: Renderer, task: Task) -> list[Request]:
    """Ask for an answer to each sample; repeats of a sample, which are neighbours, are separate draws."""
    prompts = [renderer.prompt(task.messages(sample)) for sample in samples]
    return [
        Request(sample.id, index % COMPLETIONS, prompt.text, prompt.ids)
        for index, (sample, prompt) in enumerate(zip(samples, prompts, strict=True))
    ]


def reward(task: Task, sample: Sample, answer: str) -> float:
    """Return the task's headline score: 1 for a right answer, 0 for a wrong one."""
    return task.score(sample, answer).values[task.metrics[0].name]


def completion_logps(
    model: Any, prompts: Sequence[list[int]], completions: Sequence[list[int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log-probabilities of every next token and the mask of those that were drawn, both (rows, width - 1).

    Rows are padded at their end, where a causal model's earlier tokens cannot look, so no attention mask is needed.
    """
    width = max(len(prompt) + len(drawn) for prompt, drawn in zip(prompts, completions, strict=True))
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros(len(prompts), width)
    for row, (prompt, drawn) in enumerate(zip(prompts, completions, strict=True)):
        ids[row, : len(prompt) + len(drawn)] = torch.tensor(prompt + drawn)
        mask[row, len(prompt) : len(prompt) + len(drawn)] = 1
    logits = model(input_ids=ids).logits[:, :-1] / TEMPERATURE
    logps = torch.log_softmax(logits, dim=-1).gather(2, ids[:, 1:, None])[:, :, 0]
    return logps, mask[:, 1:]


def accuracy(when: str, model: Any, renderer: Renderer, task: Task, samples: Sequence[Sample]) -> float:
    """Answer by greedy decoding; print and return the share that the task's scorer accepts."""
    generator = LocalGenerator(model, renderer, Decoding(task.max_new_tokens), task.stop)
    prompts = [renderer.prompt(task.messages(sample)) for sample in samples]
    requests = [Request(s.id, 0, prompt.text, prompt.ids) for s, prompt in zip(samples, prompts, strict=True)]
    outputs = [o for start in range(0, len(requests), 50) for o in generator.run(requests[start : start + 50])]
    scores = [task.score(sample, output.output) for sample, output in zip(samples, outputs, strict=True)]
    found = wilson(sum(score.outcome is Outcome.CORRECT for score in scores), len(scores))
    print(f"accuracy {when}: {found.value:.3f} ({found.low:.3f} … {found.high:.3f}), n = {found.n}")
    return found.value


if __name__ == "__main__":
    main()
