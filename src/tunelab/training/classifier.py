"""Training of a classifier: a backbone, full or under LoRA, and a linear head for each task of the rows.

Prompts are those of the renderer, so that a head reads what a language model would be asked. The loss is the mean
cross entropy over the rows of an optimiser step, whatever tasks they belong to. The loop is transformers'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, Trainer, TrainingArguments

from tunelab.data.sample import Sample
from tunelab.errors import DataError
from tunelab.formats.renderer import Renderer
from tunelab.models.heads import ClassifierModel, hidden_size, new_heads, restore, right_padded, save_classifier
from tunelab.tasks.task import Task, has_choices
from tunelab.training.job import Job, arguments, carry_out
from tunelab.training.recipe import Recipe
from tunelab.training.rows import keep_fitting
from tunelab.training.sft import total_steps

Row = dict[str, Any]


@dataclass(frozen=True)
class ClassifierRows:
    """``rows`` hold ``input_ids``, ``labels`` (a class) and ``task`` (the place of its task in ``classes``)."""

    rows: list[Row]
    classes: dict[str, tuple[str, ...]]
    receipt: dict[str, Any]
    preview: str


def classifier_rows(
    samples: Sequence[Sample], tasks: Mapping[str, Task], main: str, renderer: Renderer, recipe: Recipe
) -> ClassifierRows:
    """Render training prompts. A sample belongs to the task that its metadata names, else to ``main``.

    Raises DataError for a task without choices, choices that change from row to row, and rows that do not fit.
    """
    classes: dict[str, tuple[str, ...]] = {}
    rendered = [_row(s, tasks[s.metadata.get("task", main)], renderer, classes) for s in samples]
    rows = keep_fitting(rendered, [len(r["input_ids"]) for r in rendered], recipe.max_length, recipe.max_too_long)
    first = rows[0]
    words = classes[list(classes)[first["task"]]]
    receipt = {
        "rows": len(rows),
        "too_long": len(rendered) - len(rows),
        "tokens": sum(len(r["input_ids"]) for r in rows),
        "longest": max(len(r["input_ids"]) for r in rows),
        "classes": {task: list(labels) for task, labels in classes.items()},
    }
    shown = f"{renderer.tokenizer.decode(first['input_ids'])}⟦{words[first['labels']]}⟧"
    return ClassifierRows(rows, classes, receipt, shown)


def _row(sample: Sample, task: Task, renderer: Renderer, classes: dict[str, tuple[str, ...]]) -> Row:
    where = f"task {task.name}, sample {sample.id}"
    if not has_choices(task):
        raise DataError(f"{where}: the task has no choices, expected some for head: classifier")
    labels, target = task.choices(sample), task.target(sample)
    if classes.setdefault(task.name, labels) != labels:
        raise DataError(f"{where}: got the choices {labels}, expected those of every row, {classes[task.name]}")
    if target not in labels:
        raise DataError(f"{where}: got the target {target!r}, expected one of {', '.join(labels)}")
    ids = renderer.prompt(task.messages(sample)).ids
    return {"input_ids": ids, "labels": labels.index(target), "task": list(classes).index(task.name)}


def train_classifier(job: Job, rows: ClassifierRows, backbone: PreTrainedModel, pad: int) -> dict[str, Any]:
    """Teach the classes of ``rows``; write ``model/`` and return the facts for the record."""
    total = total_steps(job.recipe, len(rows.rows))
    heads = new_heads(rows.classes, hidden_size(backbone), job.seed).to(backbone.device)

    def build(trainable: Any) -> Trainer:
        datasets.disable_progress_bars()
        shared = arguments(job, total, job.recipe.batch_size)
        return _ClassifierTrainer(
            model=ClassifierModel(trainable, heads, rows.classes),
            args=TrainingArguments(**shared, remove_unused_columns=False, label_names=["labels"]),
            train_dataset=datasets.Dataset.from_list(rows.rows),
            data_collator=partial(collate, pad=pad),
            compute_loss_func=loss,
        )

    return {"receipt": rows.receipt, **carry_out(job, backbone, total, build)}


def collate(rows: Sequence[Row], pad: int) -> dict[str, torch.Tensor]:
    """Return one micro batch of rows."""
    ids, mask = right_padded([row["input_ids"] for row in rows], pad, torch.device("cpu"))
    columns = {name: torch.tensor([row[name] for row in rows]) for name in ("labels", "task")}
    return {"input_ids": ids, "attention_mask": mask, **columns}


def loss(outputs: Mapping[str, torch.Tensor], labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """Return the cross entropy of a micro batch, summed and divided by the rows of the whole optimiser step."""
    total = cross_entropy(outputs["logits"], labels, reduction="sum")
    return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)


class _ClassifierTrainer(Trainer):
    """Saves and resumes the backbone or its adapter with the heads, instead of one state dictionary."""

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the model, at the end and in every checkpoint."""
        assert output_dir is not None
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        save_classifier(self.accelerator.unwrap_model(self.model), Path(output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        chosen: Any = model or self.model
        restore(chosen, Path(resume_from_checkpoint))
