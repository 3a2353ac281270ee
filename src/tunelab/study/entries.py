"""Entries of a study: a variant under ``train``, an evaluation under ``evaluate``, and what chooses between candidates.

What defines an experiment stands here; what runs it stands in ``Hardware``. Declaring is inert.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tunelab.data.mixtures import Mixture
from tunelab.study.keys import describe_validation
from tunelab.training.recipe import Recipe

Size = Annotated[int, Field(gt=0)] | Annotated[float, Field(gt=0, le=1)] | None
"""A number of rows, a share of them, or all."""


class Strict(BaseModel):
    """Refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class HeldOut(Strict):
    """Rows of the training split that choose among candidates: neither training nor evaluation uses them."""

    on: Literal["validation"] = Field(description="validation: rows held out of the training split.")
    rows: int = Field(default=200, gt=0, description="Held-out rows of each task.")
    seed: int = Field(default=0, description="Chooses the held-out rows.")


class LrSearch(HeldOut):
    """A learning rate of each variant's own."""

    search: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=2, description="Candidates.")

    @field_validator("search")
    @classmethod
    def _candidates_differ(cls, search: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(search)) < len(search):
            raise ValueError(f"got {list(search)}, expected every candidate once")
        return search


class CheckpointSearch(HeldOut):
    """The best of a training's evenly spaced checkpoints."""

    search: int = Field(gt=1, description="Number of checkpoints.")


class Train(Recipe):
    """One variant: a recipe on data under a format."""

    format: str = Field(description="Name of the format that training rows are rendered in.")
    model: str | None = Field(default=None, description="Model of this entry. Default: the study's.")
    task: str | tuple[str, ...] | None = Field(
        default=None, description="Task of this entry, or a list of tasks to mix. Default: the study's."
    )
    mixture: Mixture = Field(default_factory=Mixture, description="Used when task is a list.")
    lr_search: LrSearch | None = Field(default=None, description="Written as lr: {search: [...], on: validation}.")
    checkpoint_search: CheckpointSearch | None = Field(
        default=None, description="Written as checkpoints: {search: 3, on: validation}."
    )
    file: str | None = Field(
        default=None,
        description="Training rows from this file or URL instead of the task's training split, in its columns.",
    )
    from_checkpoint: str | None = Field(
        default=None, description="A trained adapter or model, by folder or hub id: evaluated, not trained."
    )
    published: str | None = Field(
        default=None, description="Hub id of the trained adapter or model, for `tunelab reproduce`."
    )
    on_request: bool = Field(default=False, description="Left out unless it is selected by name: train=NAME.")
    rows: Size = Field(default=None, description="Training rows of each task: a number, a share, or all.")
    rows_seed: int = Field(default=0, description="Chooses the rows.")

    @model_validator(mode="before")
    @classmethod
    def _searches_have_fields_of_their_own(cls, raw: Any) -> Any:
        """Part a search written in a field's place from the value that the field has until it has chosen."""
        if not isinstance(raw, dict):
            return raw
        parted = dict(cast(dict[str, Any], raw))
        for name, model in (("lr", LrSearch), ("checkpoints", CheckpointSearch)):
            if not isinstance(parted.get(name), dict):
                continue
            try:
                search = model.model_validate(parted[name])
            except ValidationError as error:
                raise ValueError(f"{name}.{describe_validation(error)}") from None
            field, value = (
                ("lr_search", search.search[0])
                if isinstance(search, LrSearch)
                else ("checkpoint_search", search.search)
            )
            parted |= {name: value, field: search}
        return parted

    @model_validator(mode="after")
    def _one_search_at_a_time(self) -> Train:
        if self.lr_search and self.checkpoint_search:
            raise ValueError("checkpoints: got a search beside one of lr, expected one of the two")
        return self

    @property
    def searched(self) -> LrSearch | CheckpointSearch | None:
        """What chooses among this entry's candidates; None where there is one."""
        return self.lr_search or self.checkpoint_search

    @field_validator("model", mode="before")
    @classmethod
    def _model_can_be_trained(cls, model: Any) -> Any:
        if isinstance(model, dict):
            raise ValueError("got a model behind a server, expected a folder or a hub id; nothing is trained there")
        return model

    @field_validator("task")
    @classmethod
    def _tasks_differ(cls, task: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        if isinstance(task, tuple) and (not task or len(set(task)) < len(task)):
            raise ValueError(f"got {list(task)}, expected one task or more, each once; mixture.weights weighs them")
        return task

    @model_validator(mode="after")
    def _a_file_is_of_one_task(self) -> Train:
        if self.file is not None and len(self.tasks) > 1:
            raise ValueError(f"file: got {self.file!r} beside {len(self.tasks)} tasks to mix, expected one task")
        return self

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that the entry names; none where it trains on the study's."""
        return (self.task,) if isinstance(self.task, str) else self.task or ()


class Imported(Strict):
    """A file of outputs, under ``outputs.VARIANT.EVALUATION``."""

    file: str = Field(description="lm-evaluation-harness's samples_*.jsonl, or rows with id and output.")
    partial: Literal["refuse", "allow"] = Field(
        default="refuse", description="allow: rows that the file does not answer are unscored, never zero."
    )


class Evaluate(Strict):
    """One way to evaluate every variant."""

    format: str = Field(description="Name of the format that prompts are rendered in.")
    task: str | None = Field(default=None, description="Task of this entry. Default: the study's.")
    of: tuple[str, ...] | None = Field(
        default=None, description="Trained variants that it evaluates, beside the baseline. Default: all."
    )
    judges: tuple[str, ...] = Field(
        default=(), description="Names under judges, for a task whose outputs are judged; the first gives the headline."
    )
    split: str | None = Field(default=None, description="Split to score. Default: the task's test split.")
    rows: Size = Field(default=None, description="Rows to score: a number, a share, or all; never 'the first N'.")
    sample: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="The same as a share of the rows; written instead of rows."
    )
    rows_seed: int = Field(default=0, description="Chooses the rows.")
    by: Literal["choose", "generate", "classifier"] | None = Field(
        default=None,
        description="choose: the likeliest of the task's choices; generate: text, which the task reads; classifier: "
        "the head of a variant that has one. Default: the head where there is one, else choose for a task with "
        "choices, else generate.",
    )
    max_new_tokens: int | None = Field(default=None, gt=0, description="Token budget. Default: the task's.")
    temperature: float = Field(default=0.0, ge=0, description="0 is greedy.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Nucleus sampling.")
    samples: int = Field(default=1, gt=0, description="Draws per row; their mean is the row's score.")
    seed: int = Field(default=0, description="Of the draws.")
    precision: Literal["auto", "fp32", "bf16"] = Field(default="auto", description="auto: bf16 on a GPU, else fp32.")
    at_least: dict[str, float] = Field(default_factory=dict, description="Thresholds by metric, for --gate.")
    expected: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="Number of rows that must be asked and answered; another number is an error."
    )

    def decoding(self) -> dict[str, Any]:
        """Return how text is drawn; what greedy decoding does not use is left at its default."""
        if self.temperature == 0:
            return {"temperature": 0.0, "top_p": 1.0, "samples": self.samples, "seed": 0}
        return {"temperature": self.temperature, "top_p": self.top_p, "samples": self.samples, "seed": self.seed}

    @property
    def size(self) -> Size:
        """How many rows are scored, however it was written."""
        return self.rows if self.sample is None else self.sample

    @model_validator(mode="after")
    def _rows_or_sample(self) -> Evaluate:
        if self.rows is not None and self.sample is not None:
            raise ValueError(f"sample: got {self.sample} beside rows: {self.rows}, expected one of the two")
        return self

    @model_validator(mode="after")
    def _draws_differ(self) -> Evaluate:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(f"samples: got {self.samples} at temperature 0, expected 1: greedy draws are all equal")
        return self
