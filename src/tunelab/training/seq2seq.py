"""Supervised fine-tuning of encoder-decoder models, the T5 family, through transformers' Seq2SeqTrainer.

The encoder reads the prompt and the decoder learns the target, so only completions enter the loss. What the decoder
reads is the target behind the model's own start. The loss is the mean over the learnt tokens of an optimiser step,
however they are batched; T5's own is a mean per micro batch. Rows are held against ``max_length`` on each side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import datasets
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, Seq2SeqTrainer, Seq2SeqTrainingArguments

from tunelab.models.heads import right_padded
from tunelab.models.kind import decoder_start
from tunelab.training.job import Job, arguments, carry_out
from tunelab.training.rows import IGNORED, SupervisedRows
from tunelab.training.sft import total_steps

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def train_seq2seq(
    job: Job, rows: SupervisedRows, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Any]:
    """Teach the targets of ``rows``; write ``model/`` and return the facts for the record."""
    total = total_steps(job.recipe, len(rows.rows))
    assert isinstance(tokenizer.pad_token_id, int)
    columns = partial(collate, pad=tokenizer.pad_token_id, start=decoder_start(model.config))

    def build(trainable: Any) -> Seq2SeqTrainer:
        datasets.disable_progress_bars()
        shared = arguments(job, total, job.recipe.batch_size)
        return Seq2SeqTrainer(
            model=trainable,
            args=Seq2SeqTrainingArguments(**shared, remove_unused_columns=False, label_names=["labels"]),
            train_dataset=datasets.Dataset.from_list(rows.rows),
            data_collator=columns,
            processing_class=tokenizer,
            compute_loss_func=loss,
        )

    return {"receipt": rows.receipt, **carry_out(job, model, total, build)}


def collate(rows: Sequence[Mapping[str, list[int]]], pad: int, start: int) -> dict[str, torch.Tensor]:
    """Return one micro batch of rows, all (rows, width of their side); labels are padded with ``IGNORED``."""
    cpu = torch.device("cpu")
    ids, mask = right_padded([row["input_ids"] for row in rows], pad, cpu)
    labels, _ = right_padded([row["labels"] for row in rows], IGNORED, cpu)
    behind, _ = right_padded([[start, *row["labels"][:-1]] for row in rows], pad, cpu)
    return {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": behind, "labels": labels}


def loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """Return the cross entropy of a micro batch, summed and divided by the learnt tokens of the optimiser step."""
    logits = outputs.logits.float().flatten(0, 1)
    total = cross_entropy(logits, labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / ((labels != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch)
