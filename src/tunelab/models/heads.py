"""A backbone with a linear head per task: classification without a vocabulary.

The backbone is a causal model without its language-model head; a head reads the hidden state of a prompt's last
token. All tasks share the backbone. On disk a classifier is the backbone's folder (all weights, or a LoRA adapter)
with two files more: ``heads.safetensors`` and ``heads.json``, which has the labels of each task in order.

Rows are padded on the right, so that positions are those of the row alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tunelab.errors import ModelError
from tunelab.files import read_json, write_json
from tunelab.models.device import Device, Precision
from tunelab.models.four_bit import FourBit
from tunelab.models.load import load_backbone
from tunelab.models.spec import ModelRef

WEIGHTS, LABELS = "heads.safetensors", "heads.json"
INITIAL_STD = 0.02
"""Of a new head's weights; its bias is zero."""

Labels = Mapping[str, Sequence[str]]
"""Task name to its labels, in order."""


class ClassifierModel(nn.Module):
    """Reads the last token of a prompt with the head of the prompt's task."""

    def __init__(self, backbone: Any, heads: nn.ModuleDict, labels: Labels) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = heads
        self.labels = {task: tuple(words) for task, words in labels.items()}
        self.config = backbone.config

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.backbone.device

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, task: torch.Tensor) -> dict[str, Any]:
        """Return ``logits`` (batch, most labels) from right-padded ids (batch, width) and head indices (batch,).

        Places that a task has no label for hold minus infinity: they take no part in a softmax.
        """
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(hidden), device=hidden.device), attention_mask.sum(dim=1) - 1].float()
        logits = last.new_full((len(last), max(map(len, self.labels.values()))), -torch.inf)
        for index, name in enumerate(self.labels):
            rows = (task == index).nonzero()[:, 0]
            logits[rows, : len(self.labels[name])] = self.heads[name](last[rows]).float()
        return {"logits": logits}

    def activation_checkpointing_enable(self, **kwargs: Any) -> None:
        """Trade time for memory in the backbone."""
        self.backbone.activation_checkpointing_enable(**kwargs)


def new_heads(labels: Labels, hidden: int, seed: int) -> nn.ModuleDict:
    """Return heads whose weights depend on the seed, the task's place and nothing else. Raises ModelError."""
    generator = torch.Generator().manual_seed(seed)
    heads = nn.ModuleDict()
    for task, words in labels.items():
        if "." in task:
            raise ModelError(f"head: got the task name {task!r}, expected one without a dot; rename the task")
        head = nn.Linear(hidden, len(words))
        nn.init.normal_(head.weight, std=INITIAL_STD, generator=generator)
        nn.init.zeros_(head.bias)
        heads[task] = head
    return heads


def right_padded(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask, both (rows, width)."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    return ids, mask


def save_classifier(model: ClassifierModel, folder: Path) -> None:
    """Write the backbone, or its adapter, and the heads."""
    model.backbone.save_pretrained(str(folder))
    weights = {name: weight.detach().contiguous() for name, weight in model.heads.state_dict().items()}
    save_file(weights, str(folder / WEIGHTS))
    write_json(folder / LABELS, {task: list(words) for task, words in model.labels.items()})


def load_classifier(
    ref: ModelRef, device: Device, precision: Precision, folder: Path, adapter: bool, four_bit: FourBit | None = None
) -> ClassifierModel:
    """Load what ``save_classifier`` wrote; an adapter goes onto the base model ``ref``. Raises ModelError."""
    if adapter:
        backbone = load_backbone(ref, device, precision, folder, four_bit)
    else:
        backbone = load_backbone(replace(ref, location=str(folder), revision=None), device, precision)
    labels: Labels = read_json(folder / LABELS)
    model = ClassifierModel(backbone, new_heads(labels, hidden_size(backbone), 0), labels)
    model.heads.load_state_dict(load_file(str(folder / WEIGHTS)))
    return model.to(device).eval()


def restore(model: ClassifierModel, folder: Path) -> None:
    """Put the weights that ``save_classifier`` wrote into a model of the same shape."""
    if (folder / "adapter_config.json").exists():
        from peft import load_peft_weights, set_peft_model_state_dict

        set_peft_model_state_dict(model.backbone, load_peft_weights(str(folder), device=str(model.device)))
    else:
        model.backbone.load_state_dict(type(model.backbone).from_pretrained(str(folder)).state_dict())
    model.heads.load_state_dict(load_file(str(folder / WEIGHTS)))


def hidden_size(backbone: Any) -> int:
    """Return the width of the hidden states that heads read."""
    return backbone.config.get_text_config().hidden_size
