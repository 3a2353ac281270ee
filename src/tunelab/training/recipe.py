"""A recipe: how a model is trained. What defines the experiment has no default; nothing here is about hardware."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

OF_METHOD = {"sft": "loss", "grpo": "grpo", "dpo": "dpo"}
"""The setting that only one method reads, where it has one."""


class Lora(BaseModel):
    """Low-rank adapters (Hu et al. 2021)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(default=16, gt=0, description="Rank r of the update.")
    alpha: float = Field(default=32, gt=0, description="The update is scaled by alpha / rank.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout before the adapter.")
    targets: Literal["all-linear"] | tuple[str, ...] = Field(
        default="all-linear", description="Names of adapted modules, or all-linear."
    )


class Qlora(BaseModel):
    """Low-rank adapters over a base whose linear weights are of 4 bits (Dettmers et al. 2023)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    quant_type: Literal["nf4", "fp4"] = Field(default="nf4", description="Data type of the 4-bit weights.")
    double_quant: bool = Field(default=True, description="Quantise the scales of the blocks too.")
    compute: Literal["auto", "bf16", "fp32"] = Field(
        default="auto", description="What 4-bit weights are multiplied in; auto: bf16 on a GPU that has it, else fp32."
    )
    fallback: Literal["refuse", "lora"] = Field(
        default="refuse",
        description="Where 4-bit weights cannot be had. refuse: the training is blocked; lora: plain LoRA is trained, "
        "and plan, run and report say so.",
    )

    def identity(self) -> dict[str, Any]:
        """Return what can change the weights, as plain JSON; what would run elsewhere cannot."""
        return self.model_dump(mode="json", exclude={"fallback"})


class JudgeReward(BaseModel):
    """What a judge's verdict on an answer counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(gt=0, description="Of the verdict, 0 to 1.")
    of: tuple[str, ...] = Field(
        default=(), description="Tasks whose answers are judged: free text. Default: all that the entry trains on."
    )

    @field_validator("of")
    @classmethod
    def _each_once(cls, of: tuple[str, ...]) -> tuple[str, ...]:
        if repeated := [task for task in of if of.count(task) > 1]:
            raise ValueError(f"got {repeated[0]} twice, expected every task once")
        return of

    def identity(self) -> dict[str, Any]:
        """Return what can change a reward, as plain JSON; the order of the tasks cannot."""
        return {"weight": self.weight, "of": sorted(self.of)}


def of_judge(name: str) -> str:
    """Return the name of a judge's reward beside the others."""
    return f"judge_{name}"


class Rewards(BaseModel):
    """Weights of GRPO's rewards; a reward of weight 0 is not computed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: float = Field(default=1.0, gt=0, description="Of the task's scorer, 0 to 1.")
    format: float = Field(
        default=0.0, ge=0, description="Of an answer given explicitly by an output that ended by itself, 0 or 1."
    )
    length: float = Field(default=0.0, ge=0, description="Of a penalty for nearing the budget, -1 to 0 (DAPO).")
    length_buffer: int | None = Field(
        default=None, gt=0, description="Tokens before the budget in which the penalty grows. Default: a fifth of it."
    )

    judges: dict[str, JudgeReward] = Field(
        default_factory=dict,
        description="Of judges, by their names under judges: {grader: {weight: 0.5, of: [squad_v2]}}.",
    )

    def weights(self) -> dict[str, float]:
        """Return the weights that are not 0 by the rewards' names, the task's first."""
        found = {"task": self.task, "format": self.format, "length": self.length}
        judges = {of_judge(name): judge.weight for name, judge in self.judges.items()}
        return {name: weight for name, weight in (found | judges).items() if weight}

    def identity(self) -> dict[str, Any]:
        """Return what can change a reward, as plain JSON: a buffer without a penalty cannot, nor can no judges."""
        unused = {"judges", *(() if self.length else ("length_buffer",))}
        judges = {name: judge.identity() for name, judge in self.judges.items()}
        return self.model_dump(mode="json", exclude=unused) | ({"judges": judges} if judges else {})


class Grpo(BaseModel):
    """Group relative policy optimisation (Shao et al. 2024); batch_size counts prompts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_generations: int = Field(default=8, gt=1, description="Completions per prompt: the group.")
    beta: float = Field(default=0.0, ge=0, description="Weight of the KL divergence from the base.")
    temperature: float = Field(default=1.0, gt=0, description="Of the rollouts.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Of the rollouts.")
    max_new_tokens: int | None = Field(default=None, gt=0, description="Budget of a completion. Default: the task's.")
    batches: Literal["shuffled", "balanced"] = Field(
        default="shuffled",
        description="balanced: of several tasks, every step has them, and their groups, in the shares of the mixture.",
    )
    loss_type: Literal["grpo", "dr_grpo", "dapo", "bnpo"] = Field(default="dapo", description="TRL's normalisation.")
    scale_rewards: Literal["group", "batch", "none"] = Field(
        default="group", description="Advantages are divided by the standard deviation of."
    )
    rewards: Rewards = Field(default_factory=Rewards, description="Weights of the task's reward and of extra ones.")


class Dpo(BaseModel):
    """Direct preference optimisation (Rafailov et al. 2023); batch_size counts pairs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    beta: float = Field(default=0.1, gt=0, description="How strongly the policy is held to the base.")
    loss_type: Literal["sigmoid", "sigmoid_norm", "hinge", "ipo"] = Field(
        default="sigmoid", description="TRL's name; sigmoid is the paper's."
    )
    pairs: Literal["sampled", "target", "dataset"] = Field(
        default="sampled",
        description="sampled: a right and a wrong completion of the base; target: the task's target and a wrong "
        "completion of the base; dataset: the task's target and the text in the row's metadata.rejected.",
    )
    samples: int = Field(default=4, gt=0, description="Completions of the base per prompt.")
    temperature: float = Field(default=1.0, gt=0, description="Of the completions.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Of the completions.")
    max_new_tokens: int | None = Field(default=None, gt=0, description="Budget of a completion. Default: the task's.")
    seed: int = Field(default=0, description="Of the completions: trainings with other seeds share their pairs.")

    @model_validator(mode="after")
    def _both_can_occur(self) -> Dpo:
        if self.pairs == "sampled" and self.samples < 2:
            raise ValueError("samples: got 1, expected at least 2 for pairs: sampled, one right and one wrong")
        return self


class Recipe(BaseModel):
    """One way to train."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["sft", "grpo", "dpo", "seq2seq"] = Field(
        description="sft: supervised fine-tuning on the task's targets; grpo: reward what the task's scorer accepts; "
        "dpo: prefer right completions to wrong ones; seq2seq: sft of an encoder-decoder model (T5), whose decoder "
        "learns the target."
    )
    adaptation: Literal["full", "lora", "qlora"] = Field(
        description="full: all weights; lora: adapters only; qlora: adapters over a base in 4 bit."
    )
    head: Literal["lm", "classifier"] = Field(
        default="lm",
        description="lm: the answer is text; classifier: sft of a linear head per task on the last prompt token, for "
        "tasks with choices.",
    )
    loss: Literal["all", "completion"] | None = Field(
        default=None,
        description="sft with head lm: tokens that are learnt, prompt and answer or the answer. Others: not read.",
    )
    lr: float = Field(gt=0, description="Peak learning rate.")
    epochs: float = Field(gt=0, description="Passes over the training rows.")
    batch_size: int = Field(gt=0, description="Rows per optimiser step, over all devices.")
    lora: Lora = Field(default_factory=Lora, description="Used when adaptation is lora or qlora.")
    qlora: Qlora = Field(default_factory=Qlora, description="Used when adaptation is qlora.")
    grpo: Grpo = Field(default_factory=Grpo, description="Used when method is grpo.")
    dpo: Dpo = Field(default_factory=Dpo, description="Used when method is dpo.")
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW weight decay.")
    warmup: float = Field(default=0.0, ge=0, lt=1, description="Share of the steps that warm up.")
    schedule: Literal["linear", "cosine", "constant"] = Field(default="linear", description="Learning rate schedule.")
    max_grad_norm: float = Field(default=1.0, gt=0, description="Gradient clipping.")
    max_length: int = Field(default=1024, gt=0, description="Rows of more tokens are left out, counted, never cut.")
    max_too_long: float = Field(default=0.02, ge=0, le=1, description="Share of rows that may be left out.")
    max_steps: int | None = Field(
        default=None, gt=0, description="Stop after so many optimiser steps, even within an epoch."
    )
    checkpoints: int = Field(default=0, ge=0, description="Evenly spaced checkpoints whose weights are kept.")
    precision: Literal["auto", "fp32", "bf16"] = Field(default="auto", description="auto: bf16 on a GPU, else fp32.")

    @model_validator(mode="after")
    def _loss_is_declared(self) -> Recipe:
        if self.method == "sft" and self.head == "lm" and self.loss is None:
            raise ValueError("loss: missing, expected all or completion for method sft")
        if self.head == "classifier" and self.method != "sft":
            raise ValueError(f"head: got classifier with method {self.method}, expected method sft")
        return self

    @property
    def adapter(self) -> bool:
        """Whether low-rank adapters are trained in place of all weights."""
        return self.adaptation != "full"

    def identity(self, precision: str) -> dict[str, Any]:
        """Return every setting that can change the weights, defaults included, as plain JSON."""
        settings = Recipe.model_validate(self.model_dump(include=set(Recipe.model_fields))).model_dump(mode="json")
        if not self.adapter:
            settings.pop("lora")
        settings.pop("qlora")
        if self.adaptation == "qlora":
            settings["qlora"] = self.qlora.identity()
        settings["grpo"]["rewards"] = self.grpo.rewards.identity()
        settings["grpo"].pop("batches")  # a step that trains on several tasks says whose prompts take turns
        for method, name in OF_METHOD.items():
            if method != self.method:
                settings.pop(name)
        if self.head == "lm":
            settings.pop("head")
        else:
            settings.pop("loss")
        return settings | {"precision": precision}
