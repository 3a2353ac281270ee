"""Supervised fine-tuning without padding: TRL's trainer over packed batches, with our attention and our head.

The rows of every batch, their order, the normaliser and the metrics are TRL's; only what is computed of them differs,
in the order of summation. Whether a model may be packed is found out by trying: what it says of the longest and the
shortest row, packed, must be what it says of them padded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling, SFTTrainer

from tunelab.models.packed_attention import packed_attention, without_packing
from tunelab.models.supervised_head import logits_of, supervised_loss
from tunelab.training.rows import IGNORED

Row = Mapping[str, Sequence[int]]

EXACT, ROUNDED = 1e-4, 3e-2
"""The most that summing in another order changes a mean loss, in fp32 and in bf16."""
FEW = 16
"""Tokens of which all logits are made once, to compare our head with the model's."""


class PackedTrainer(SFTTrainer):
    """Computes the loss of packed batches with the head that ``add_supervised_head`` gives a model."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Return the summed loss of a packed batch, divided by the learnt tokens of the whole optimiser step."""
        own = (inputs["labels"][:, 1:] >= 0).sum()
        number = own if num_items_in_batch is None else num_items_in_batch
        found = model(**self.packed(inputs), use_cache=False, learnt_tokens=torch.as_tensor(number).clamp(min=1))
        self.count(found, inputs["input_ids"].numel())
        averaged = self.args.average_tokens_across_devices and num_items_in_batch is not None
        return found["loss"] * self.accelerator.num_processes if averaged else found["loss"]

    def packed(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return a batch with the lengths of its rows, which our attention goes by."""
        return inputs | {"sequence_lengths": inputs["cu_seq_lens_q"].diff().tolist()}

    def count(self, found: Mapping[str, torch.Tensor], tokens: int) -> None:
        """Keep what TRL logs beside the loss."""
        counts = torch.stack([found["entropy"], found["correct"], found["tokens"].float()])
        gathered: Any = self.accelerator.gather(counts[None])
        entropy, correct, learnt = gathered.sum(0).tolist()
        kept = self._metrics["train"]
        kept["entropy"].append(entropy / learnt if learnt else 0.0)
        kept["mean_token_accuracy"].append(correct / learnt if learnt else 0.0)
        self._total_train_tokens += tokens * self.accelerator.num_processes
        kept["num_tokens"] = [self._total_train_tokens]


def unpackable(model: Any, rows: Sequence[Row], exact: bool) -> str | None:
    """Return why rows are to be padded for a causal model, or None where packing says the same of them."""
    if reason := without_packing(model):
        return reason
    longest, shortest = (choose(rows, key=lambda row: len(row["input_ids"])) for choose in (max, min))
    few = {
        name: values[:FEW] for name, values in (("input_ids", longest["input_ids"]), ("labels", longest["input_ids"]))
    }
    with torch.no_grad():
        model.eval()
        expected = padded_loss(model, [longest, shortest]), _whole(model, few)
        with packed_attention(model):
            found = _packed(model, [longest, shortest]), _packed(model, [few])
    for what, ours, theirs in zip(("padded", "by its own head"), found, expected, strict=True):
        if not abs(ours - theirs) <= (EXACT if exact else ROUNDED):
            return f"rows have a loss of {ours:.6f} packed, of {theirs:.6f} {what}"
    return None


def _packed(model: Any, rows: Sequence[Row]) -> float:
    inputs = _collated(model, rows, padding_free=True)
    labels, lengths = inputs.pop("labels"), [len(row["input_ids"]) for row in rows]
    return mean_loss(
        model, model.base_model(**inputs, sequence_lengths=lengths, use_cache=False).last_hidden_state, labels
    )


def padded_loss(model: Any, rows: Sequence[Row]) -> float:
    """Return the mean loss of rows by the attention that the model has, padded."""
    inputs = _collated(model, rows, padding_free=False)
    labels = inputs.pop("labels")
    labels[:, 0] = IGNORED
    hidden = model.base_model(**inputs, use_cache=False).last_hidden_state
    return mean_loss(model, hidden.flatten(0, 1)[None], labels.flatten()[None])


def _collated(model: Any, rows: Sequence[Row], padding_free: bool) -> dict[str, Any]:
    collated = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=padding_free)(list(rows))
    return {k: v.to(model.device) if isinstance(v, torch.Tensor) else v for k, v in collated.items()}


def mean_loss(model: Any, hidden: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the mean loss of rows that lie end to end."""
    learnt = (labels[:, 1:] >= 0).sum().clamp(min=1)
    found = supervised_loss(hidden, labels, model.get_output_embeddings(), logits_of(model.config), learnt)
    return found.loss.item()


def _whole(model: Any, row: Row) -> float:
    """Return the mean loss of a row by all the logits that the model itself makes of it."""
    ids = torch.tensor([row["input_ids"]], device=model.device)
    return float(cross_entropy(model(input_ids=ids, use_cache=False).logits[0, :-1].float(), ids[0, 1:]))
