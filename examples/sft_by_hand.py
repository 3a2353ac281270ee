"""Supervised fine-tuning without a trainer: the whole loop on the bundled model, in about ten seconds on one CPU.

A training row is a prompt with its answer as token ids; the loss is the mean negative log-likelihood of the answer's
tokens, the prompt's being context only. Task, prompt format, generator and scorer are tunelab's, and so are the rows
and their order: ``method: sft`` in a study takes these steps on these batches, and ends with these weights up to
rounding.

What the study adds: LoRA, bf16 and devices, batches split to fit memory, checkpoints to resume from, a count of
rows that are too long, a leak check, metrics, and a record of every setting that could change the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from tunelab import Format
from tunelab.data.sample import Sample
from tunelab.data.subsets import subset
from tunelab.formats.renderer import Example, Renderer
from tunelab.generation.decoding import Decoding, Request
from tunelab.generation.local import LocalGenerator
from tunelab.models.load import load_model, load_tokenizer
from tunelab.models.spec import resolve
from tunelab.scoring.score import Outcome
from tunelab.stats import wilson
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import load_samples
from tunelab.tasks.task import Task

TRAIN_ROWS = 320
TEST_ROWS = 200
BATCH_SIZE = 16
LEARNING_RATE = 1e-4
MAX_GRAD_NORM = 1.0
SEED = 0

NOT_LEARNT = -100
"""The label that PyTorch's cross entropy leaves out."""


def main() -> tuple[float, float]:
    """Train one epoch; return the accuracy before and after."""
    task = find_task("arithmetic")
    renderer = Renderer(load_tokenizer(resolve("tiny")), Format(template="chat"))
    model = load_model(resolve("tiny"), "cpu", "fp32")
    train = subset(load_samples(task, "train", None), TRAIN_ROWS, seed=0)
    test = subset(load_samples(task, "test", None), TEST_ROWS, seed=0)
    before = accuracy("before", model, renderer, task, test)

    examples = [renderer.example(task.messages(sample), task.target(sample)) for sample in train]
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(SEED)).tolist()
    batches = [order[start : start + BATCH_SIZE] for start in range(0, len(order), BATCH_SIZE)]

    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / len(batches))
    model.train()
    for step, chosen in enumerate(batches, start=1):
        loss = completion_loss(model, [examples[i] for i in chosen])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 5 == 0:
            print(f"step {step:2d} of {len(batches)}: loss {loss.item():.3f}")
    model.eval()

    return before, accuracy("after", model, renderer, task, test)


def completion_loss(model: Any, examples: Sequence[Example]) -> torch.Tensor:
    """Return the mean loss per answer token of the batch: a long answer weighs more than a short one.

    Rows are padded at their end, where a causal model's earlier tokens cannot look, so no attention mask is needed.
    """
    width = max(len(example.ids) for example in examples)
    ids = torch.zeros(len(examples), width, dtype=torch.long)
    labels = torch.full_like(ids, NOT_LEARNT)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        learnt = [token if kept else NOT_LEARNT for token, kept in zip(example.ids, example.mask, strict=True)]
        labels[row, : len(learnt)] = torch.tensor(learnt)
    logits = model(input_ids=ids).logits[:, :-1]  # (rows, width - 1, vocabulary): position t predicts token t + 1
    return cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=NOT_LEARNT)


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
