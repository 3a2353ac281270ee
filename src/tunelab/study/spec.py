"""What a study file may say. Declaring is inert: reading a study loads no model and touches no network.

``recipe`` and ``evaluation`` hold what all entries of ``train`` and ``evaluate`` share; an entry overrides what
it names. ``hardware`` is about the machine: it enters a fingerprint only where a batch size decides about rounding,
dropout or a normaliser, and where another engine draws GRPO's completions.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tunelab.data.mixtures import Mixture
from tunelab.formats.format import Format
from tunelab.study.keys import describe_validation
from tunelab.study.tree import check_tree
from tunelab.training.recipe import Recipe

Size = Annotated[int, Field(gt=0)] | Annotated[float, Field(gt=0, le=1)] | None
"""A number of rows, a share of them, or all."""


class Strict(BaseModel):
    """Refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LrSearch(Strict):
    """A learning rate of each variant's own, chosen on rows that neither training nor evaluation uses."""

    search: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=2, description="Candidates.")
    on: Literal["validation"] = Field(description="validation: rows held out of the training split.")
    rows: int = Field(default=200, gt=0, description="Held-out rows of each task.")
    seed: int = Field(default=0, description="Chooses the held-out rows.")

    @field_validator("search")
    @classmethod
    def _candidates_differ(cls, search: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(search)) < len(search):
            raise ValueError(f"got {list(search)}, expected every candidate once")
        return search


class Train(Recipe):
    """One variant: a recipe on data under a format."""

    format: str = Field(description="Name of the format that training rows are rendered in.")
    model: str | None = Field(default=None, description="Model of this entry. Default: the study's.")
    task: str | tuple[str, ...] | None = Field(
        default=None, description="Task of this entry, or a list of tasks to mix. Default: the study's."
    )
    mixture: Mixture = Field(default_factory=Mixture, description="Used when task is a list.")
    lr_search: LrSearch | None = Field(default=None, description="Written as lr: {search: [...], on: validation}.")
    rows: Size = Field(default=None, description="Training rows of each task: a number, a share, or all.")
    rows_seed: int = Field(default=0, description="Chooses the rows.")

    @model_validator(mode="before")
    @classmethod
    def _search_has_a_field_of_its_own(cls, raw: Any) -> Any:
        """Part ``lr: {search: ...}`` into the search and, until it has chosen, its first candidate."""
        lr = cast(dict[str, Any], raw).get("lr") if isinstance(raw, dict) else None
        if not isinstance(lr, dict):
            return raw
        try:
            search = LrSearch.model_validate(lr)
        except ValidationError as error:
            raise ValueError(f"lr.{describe_validation(error)}") from None
        return {**raw, "lr": search.search[0], "lr_search": search}

    @field_validator("task")
    @classmethod
    def _tasks_differ(cls, task: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        if isinstance(task, tuple) and (not task or len(set(task)) < len(task)):
            raise ValueError(f"got {list(task)}, expected one task or more, each once; mixture.weights weighs them")
        return task

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that the entry names; none where it trains on the study's."""
        return (self.task,) if isinstance(self.task, str) else self.task or ()


class Evaluate(Strict):
    """One way to evaluate every variant."""

    format: str = Field(description="Name of the format that prompts are rendered in.")
    task: str | None = Field(default=None, description="Task of this entry. Default: the study's.")
    split: str | None = Field(default=None, description="Split to score. Default: the task's test split.")
    rows: Size = Field(default=None, description="Rows to score: a number, a share, or all; never 'the first N'.")
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

    def decoding(self) -> dict[str, Any]:
        """Return how text is drawn; what greedy decoding does not use is left at its default."""
        if self.temperature == 0:
            return {"temperature": 0.0, "top_p": 1.0, "samples": self.samples, "seed": 0}
        return {"temperature": self.temperature, "top_p": self.top_p, "samples": self.samples, "seed": self.seed}

    @model_validator(mode="after")
    def _draws_differ(self) -> Evaluate:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(f"samples: got {self.samples} at temperature 0, expected 1: greedy draws are all equal")
        return self


class Data(Strict):
    """Where rows come from and what is done about overlaps."""

    source: Literal["auto", "hub", "mirror", "builtin"] = Field(
        default="auto",
        description="auto: the mirror in TUNELAB_DATA when it has a split of the data set, else the hub.",
    )
    files: dict[str, str | dict[str, str]] = Field(
        default_factory=dict,
        description="Your own files by split: {train: my.jsonl}; with several tasks, by task: {sst2: {train: a}}.",
    )
    leaks: Literal["refuse", "drop", "report"] = Field(
        default="refuse",
        description="refuse: stop when an evaluation row is in training; drop: leave such rows out of training "
        "(13-word overlaps too); report: only list them.",
    )

    @model_validator(mode="after")
    def _files_are_by_split_or_by_task(self) -> Data:
        if len({isinstance(value, str) for value in self.files.values()}) > 1:
            raise ValueError(f"files: got {self.files}, expected all by split, or all by task")
        return self

    def files_of(self, task: str) -> dict[str, str]:
        """Return a task's own files by split; none where they are given for other tasks only."""
        found = self.files.get(task, {})
        if isinstance(found, dict) and any(isinstance(value, dict) for value in self.files.values()):
            return found
        return {split: path for split, path in self.files.items() if isinstance(path, str)}


class Hardware(Strict):
    """What running needs. Batch sizes are identity only where dropout, sampling, bf16 or bnpo make them count."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="Where to compute.")
    micro_batch_size: int = Field(default=16, gt=0, description="Rows per forward pass in training.")
    generation_batch_size: int = Field(default=32, gt=0, description="Prompts per batch in generation.")
    rollouts: Literal["local", "vllm"] = Field(
        default="local", description="What draws GRPO's completions: this process, or vLLM in it (CUDA; never yet run)."
    )
    gradient_checkpointing: bool = Field(default=False, description="Trade time for memory in training.")
    track: tuple[Literal["wandb", "tensorboard", "trackio"], ...] = Field(
        default=(), description="Also send training metrics to these trackers."
    )


class Study(Strict):
    """A question and what is crossed to answer it."""

    study: str = Field(
        description="Name of the study and of its folder under results.", pattern=r"^[A-Za-z0-9][\w.-]*$"
    )
    question: str = Field(description="What the report should answer.")
    model: str = Field(description="'tiny', a local folder, or a hub id, with @revision if need be.")
    task: str | None = Field(default=None, description="Name of a task, or FILE.py:Class, where entries name none.")
    tasks: dict[str, Any] = Field(
        default_factory=dict, description="Tasks in named groups, for averages: {similar: [sst2, mnli], ...}."
    )
    formats: dict[str, Format] = Field(description="Prompt formats by name.")
    recipe: dict[str, Any] = Field(default_factory=dict, description="Settings that all train entries share.")
    train: dict[str, Train] = Field(default_factory=dict, description="Variants by name.")
    evaluation: dict[str, Any] = Field(default_factory=dict, description="Settings that all evaluate entries share.")
    evaluate: dict[str, Evaluate] = Field(description="Evaluations by name.", min_length=1)
    baseline: str = Field(default="base", description="Variant that the others are compared with.")
    mismatch: Literal["refuse", "skip", "allow"] = Field(
        default="refuse",
        description="A variant evaluated in a format that it was not trained on: refuse the study, skip the cell, "
        "or allow and label it.",
    )
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(0,), min_length=1, description="Each variant is trained once per seed."
    )
    alpha: float = Field(default=0.05, gt=0, lt=1, description="Significance level after Holm's correction.")
    data: Data = Field(default_factory=Data, description="Sources and the leak check.")
    hardware: Hardware = Field(default_factory=Hardware, description="About the machine, not the experiment.")
    sweep: dict[str, list[Any]] = Field(
        default_factory=dict, description="Crosses any field: {recipe.lr: [1e-5, 1e-4]} or {model: [a, b]}."
    )
    smoke: bool = Field(default=False, description="Set by --smoke; only the configuration of a smoke run says it.")

    @property
    def first_task(self) -> str:
        """The study's task, or the first that an entry names."""
        named = [task for entry in self.train.values() for task in entry.tasks]
        return self.task or [*named, *(entry.task for entry in self.evaluate.values() if entry.task)][0]

    @field_validator("tasks")
    @classmethod
    def _tasks_are_a_tree(cls, tasks: dict[str, Any]) -> dict[str, Any]:
        check_tree(tasks)
        return tasks

    @model_validator(mode="after")
    def _names_exist(self) -> Study:
        for section, entries in (("train", self.train), ("evaluate", self.evaluate)):
            for name, entry in entries.items():
                if entry.format not in self.formats:
                    raise ValueError(f"{section}.{name}.format: got {entry.format!r}, expected a name under formats")
            for name, entry in entries.items():
                if entry.task is None and self.task is None:
                    raise ValueError(f"task: missing, and {section}.{name} names none; add one of the two")
        known = {"base", *self.train}
        if self.baseline not in known:
            raise ValueError(f"baseline: got {self.baseline!r}, expected one of {', '.join(sorted(known))}")
        if "base" in self.train:
            raise ValueError("train.base: the name 'base' is taken by the untouched model; rename the entry")
        return self
