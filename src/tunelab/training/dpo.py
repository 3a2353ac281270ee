"""Direct preference optimisation (Rafailov et al. 2023) through TRL on pairs that are already tokenised.

The loop and the loss are TRL's. Prompt and completions are ids of our renderer, so the policy is trained behind the
prompt that it is evaluated behind, and both completions end with the token that ends a turn. The reference is the
untouched base: with an adapter the same model with the adapter off, else a frozen copy. The model's own dropout is
off, since it would make policy and reference differ at random; an adapter's is what the recipe declares.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import datasets
from transformers import PreTrainedModel
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.utils import disable_dropout_in_model

from tunelab.data.sample import Sample
from tunelab.formats.renderer import Renderer
from tunelab.tasks.task import Task
from tunelab.training.job import Job, arguments, carry_out
from tunelab.training.recipe import Recipe
from tunelab.training.rows import keep_fitting
from tunelab.training.sft import total_steps

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class PreferenceRows:
    """``rows`` hold ``prompt_ids``, ``chosen_ids`` and ``rejected_ids``; ``receipt`` counts what went in."""

    rows: list[dict[str, list[int]]]
    receipt: dict[str, Any]
    preview: str


def preference_rows(
    pairs: Sequence[Mapping[str, Any]], samples: Sequence[Sample], task: Task, renderer: Renderer, recipe: Recipe
) -> PreferenceRows:
    """Render rows of ``pairs.jsonl``. Raises DataError when too many do not fit."""
    asked = {sample.id: sample for sample in samples}
    rows = [preference_row(pair, asked[pair["id"]], task, renderer) for pair in pairs]
    lengths = [len(r["prompt_ids"]) + max(len(r["chosen_ids"]), len(r["rejected_ids"])) for r in rows]
    fitting = keep_fitting(rows, lengths, recipe.max_length, recipe.max_too_long, "preference pairs")
    receipt = {
        "rows": len(fitting),
        "too_long": len(rows) - len(fitting),
        "prompt_tokens": sum(len(row["prompt_ids"]) for row in fitting),
        "chosen_tokens": sum(len(row["chosen_ids"]) for row in fitting),
        "rejected_tokens": sum(len(row["rejected_ids"]) for row in fitting),
        "longest": max(length for length in lengths if length <= recipe.max_length),
    }
    return PreferenceRows(fitting, receipt, preview(fitting[0], renderer))


def preference_row(pair: Mapping[str, Any], sample: Sample, task: Task, renderer: Renderer) -> dict[str, list[int]]:
    """Render both completions behind one prompt."""
    row = {"prompt_ids": renderer.prompt(task.messages(sample)).ids}
    for side in ("chosen", "rejected"):
        example = renderer.example(task.messages(sample), pair[side])
        row[f"{side}_ids"] = [token for token, kept in zip(example.ids, example.mask, strict=True) if kept]
    return row


def preview(row: Mapping[str, list[int]], renderer: Renderer) -> str:
    """Return a decoded pair: the prompt, and both completions in ⟦brackets⟧."""
    prompt, chosen, rejected = (str(renderer.tokenizer.decode(ids)) for ids in row.values())
    return f"{prompt}\nchosen: ⟦{chosen}⟧\nrejected: ⟦{rejected}⟧"


def train_dpo(
    job: Job, rows: PreferenceRows, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Any]:
    """Prefer what was chosen to what was rejected; write ``model/`` and return the facts for the record."""
    total = total_steps(job.recipe, len(rows.rows))
    disable_dropout_in_model(model)
    reference = None if job.recipe.adapter else copy.deepcopy(model)

    def build(trainable: Any) -> DPOTrainer:
        datasets.disable_progress_bars()
        trainer = TokenisedDPOTrainer(
            model=trainable,
            ref_model=reference,
            args=dpo_config(job, total),
            train_dataset=datasets.Dataset.from_list(rows.rows),
            processing_class=tokenizer,
        )
        if reference is None and "ref" in trainable.peft_config:
            trainable.delete_adapter("ref")  # a copy of the fresh adapter, which is the base: adapter off is that too
        return trainer

    return {"receipt": rows.receipt, **carry_out(job, model, total, build)}


def dpo_config(job: Job, total: int) -> DPOConfig:
    """Translate a recipe: ``batch_size`` pairs enter a step."""
    settings = arguments(job, total, job.recipe.batch_size)
    settings |= {
        "beta": job.recipe.dpo.beta,
        "loss_type": [job.recipe.dpo.loss_type],
        "max_length": None,
        "disable_dropout": False,
    }
    return DPOConfig(**settings)


class TokenisedDPOTrainer(DPOTrainer):
    """TRL's trainer on rows of ids, with a loss that is the mean over a step's pairs however they are batched."""

    _share = 1.0
    """Pairs in an average micro batch of the current step."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """Leave rows as they are: TRL would tokenise texts anew."""
        return dataset

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """Count a step's pairs: an epoch's last step may have a smaller last micro batch."""
        batches, items = super().get_batch_samples(*args, **kwargs)
        self._share = sum(map(pairs_in, batches)) / max(1, len(batches))
        return batches, items

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Weigh a micro batch by its pairs."""
        return super().compute_loss(model, inputs, *args, **kwargs) * (pairs_in(inputs) / self._share)


def pairs_in(batch: Mapping[str, Any]) -> int:
    """Return the number of pairs of a batch, which holds both completions of each."""
    return len(batch["input_ids"]) // 2
