"""A recipe: how a model is trained. What defines the experiment has no default; nothing here is about hardware."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Lora(BaseModel):
    """Low-rank adapters (Hu et al. 2021)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(default=16, gt=0, description="Rank r of the update.")
    alpha: float = Field(default=32, gt=0, description="The update is scaled by alpha / rank.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout before the adapter.")
    targets: Literal["all-linear"] | tuple[str, ...] = Field(
        default="all-linear", description="Names of adapted modules, or all-linear."
    )


class Recipe(BaseModel):
    """One way to train."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["sft"] = Field(description="sft: supervised fine-tuning on the task's targets.")
    adaptation: Literal["full", "lora"] = Field(description="full: all weights; lora: adapters only.")
    loss: Literal["all", "completion"] = Field(description="Tokens that are learnt: prompt and answer, or the answer.")
    lr: float = Field(gt=0, description="Peak learning rate.")
    epochs: float = Field(gt=0, description="Passes over the training rows.")
    batch_size: int = Field(gt=0, description="Rows per optimiser step, over all devices.")
    lora: Lora = Field(default_factory=Lora, description="Used when adaptation is lora.")
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW weight decay.")
    warmup: float = Field(default=0.0, ge=0, lt=1, description="Share of the steps that warm up.")
    schedule: Literal["linear", "cosine", "constant"] = Field(default="linear", description="Learning rate schedule.")
    max_grad_norm: float = Field(default=1.0, gt=0, description="Gradient clipping.")
    max_length: int = Field(default=1024, gt=0, description="Rows of more tokens are left out, counted, never cut.")
    max_too_long: float = Field(default=0.02, ge=0, le=1, description="Share of rows that may be left out.")
    max_steps: int | None = Field(default=None, gt=0, description="Stop after so many optimiser steps.")
    checkpoints: int = Field(default=0, ge=0, description="Evenly spaced checkpoints whose weights are kept.")
    precision: Literal["auto", "fp32", "bf16"] = Field(default="auto", description="auto: bf16 on a GPU, else fp32.")

    def identity(self, precision: str) -> dict[str, Any]:
        """Return every setting that can change the weights, defaults included, as plain JSON."""
        settings = Recipe.model_validate(self.model_dump(include=set(Recipe.model_fields))).model_dump(mode="json")
        if self.adaptation == "full":
            settings.pop("lora")
        return settings | {"precision": precision}
