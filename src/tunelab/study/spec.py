"""What a study file may say. Declaring is inert: reading a study loads no model and touches no network.

``recipe`` and ``evaluation`` hold what all entries of ``train`` and ``evaluate`` share; an entry overrides what
it names. ``hardware`` is about the machine: it enters a fingerprint only where a batch size decides about rounding,
dropout or a normaliser, and where another engine draws GRPO's completions.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, cast

from pydantic import Field, field_validator, model_validator

from tunelab.data.splits import Splits
from tunelab.errors import StudyError, nearest
from tunelab.formats.format import Format
from tunelab.models.spec import BUNDLED
from tunelab.scoring.judges.judge import Judge
from tunelab.study.endpoint_model import AnyModel, EndpointModel
from tunelab.study.entries import Evaluate, Imported, Strict, Train
from tunelab.study.selection import settled
from tunelab.study.tree import check_tree, leaf_weights, leaves
from tunelab.training.sizes import DRAWN_TOGETHER


class Data(Strict):
    """Where rows come from and what is done about overlaps."""

    source: Literal["auto", "hub", "mirror", "builtin"] = Field(
        default="auto",
        description="auto: the mirror in TUNELAB_DATA when it has a split of the data set, else the hub.",
    )
    files: dict[str, str | dict[str, str]] = Field(
        default_factory=dict,
        description="Your own files or URLs by split: {train: my.jsonl}; with several tasks, by task: "
        "{sst2: {train: a}}.",
    )
    leaks: Literal["refuse", "drop", "report"] = Field(
        default="refuse",
        description="refuse: stop when an evaluation row is in training, also as another row of its cluster, like a "
        "translation; drop: leave such rows out of training, near-duplicates and 13-word overlaps too; report: only "
        "list them.",
    )
    splits: dict[str, Splits] = Field(
        default_factory=dict,
        description="Splits to make, by task: {mmmlu: {from: test, shares: {train: 0.8, test: 0.2}}}.",
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
    """What running needs. Batch sizes and packing are identity where dropout, sampling or rounding make them count."""

    device: str = Field(
        default="auto", description="Where to compute: auto, cpu, mps, cuda, or cuda:1 for one of several GPUs."
    )
    micro_batch_size: int = Field(default=16, gt=0, description="Rows per forward pass in training.")
    packing: Literal["auto", "off"] = Field(
        default="auto",
        description="auto: sft lays the rows of a forward pass end to end, without padding, and grpo without beta "
        "computes a prompt once for its completions, where the model can; off: rows are padded.",
    )
    together: Literal["auto", "off"] = Field(
        default="auto",
        description="auto: LoRA adapters that share base, rows, format and passes are trained together in fp32 when "
        "the first passes show that this is faster; off: each by itself. The results are the same.",
    )
    generation_batch_size: int = Field(default=32, gt=0, description="Prompts per batch in generation.")
    generation: Literal["auto", "engine", "plain"] = Field(
        default="auto",
        description="What answers, and draws GRPO's local completions. engine: our own, where it computes what the "
        "model does; plain: transformers' generate; auto: engine on a CPU and with CUDA, plain elsewhere.",
    )
    rollouts: Literal["local", "vllm"] = Field(
        default="local", description="What draws GRPO's completions: this process, or vLLM in it (CUDA; never yet run)."
    )
    rollout_batch_size: int = Field(
        default=DRAWN_TOGETHER, gt=0, description="Completions that GRPO draws together; they round by it."
    )
    gradient_checkpointing: Literal["auto", True, False] = Field(
        default="auto",
        description="Compute activations again in the backward pass: slower, in less memory. auto: where a training "
        "would not fit without and would with it, by the estimate of tunelab plan.",
    )
    memory: float | None = Field(
        default=None,
        gt=0,
        description="GiB that a step may take, for that estimate; by default all that the device, or this machine, "
        "has.",
    )
    track: tuple[Literal["wandb", "tensorboard", "trackio"], ...] = Field(
        default=(), description="Also send training metrics and the final table to these trackers."
    )

    @field_validator("packing", "together", mode="before")
    @classmethod
    def _off_is_a_word(cls, declared: Any) -> Any:
        """YAML reads ``off`` as false."""
        return "off" if declared is False else declared

    @field_validator("device")
    @classmethod
    def _device_is_one(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
            raise ValueError(f"got {device!r}, expected auto, cpu, mps, cuda, or cuda:1 for one of several GPUs")
        return device


class Code(Strict):
    """How code that a model wrote is run, by the tasks that run it."""

    sandbox: Literal["bubblewrap", "none"] = Field(
        default="bubblewrap",
        description="none: with all your rights, on your files and network; the report says so.",
    )


class Study(Strict):
    """A question and what is crossed to answer it."""

    study: str = Field(
        description="Name of the study and of its folder under results.", pattern=r"^[A-Za-z0-9][\w.-]*$"
    )
    question: str = Field(description="What the report should answer.")
    model: AnyModel = Field(
        description="'tiny', 'tiny-t5', a local folder, or a hub id, with @revision if need be; {endpoint: URL, name: "
        "NAME} for one behind a server, which is evaluated only."
    )
    model_names: dict[str, str] = Field(
        default_factory=dict,
        description="Short names of models, for model=NAME and in results: {qwen25-7b: Qwen/Qwen2.5-7B-Instruct}.",
    )
    models: dict[str, AnyModel] = Field(
        default_factory=dict,
        description="Further untouched models to evaluate, by variant name: {large: {endpoint: URL, name: NAME}}.",
    )
    outputs: dict[str, dict[str, Imported]] = Field(
        default_factory=dict,
        description="Outputs of other programs as variants, a file an evaluation: {their_model: {gsm8k: "
        "samples_gsm8k.jsonl}}, or {file: ..., partial: allow}.",
    )
    task: str | None = Field(default=None, description="Name of a task, or FILE.py:Class, where entries name none.")
    tasks: dict[str, Any] = Field(
        default_factory=dict, description="Tasks in named groups, for averages: {similar: [sst2, mnli], ...}."
    )
    task_weights: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="Weights in averages over tasks, by task or by group, which shares it equally: {math: 4, qa: 3}. "
        "Default: every task counts the same.",
    )
    formats: dict[str, Format] = Field(description="Prompt formats by name.")
    recipe: dict[str, Any] = Field(default_factory=dict, description="Settings that all train entries share.")
    train: dict[str, Train] = Field(default_factory=dict, description="Variants by name.")
    evaluation: dict[str, Any] = Field(default_factory=dict, description="Settings that all evaluate entries share.")
    evaluate: dict[str, Evaluate] = Field(description="Evaluations by name.", min_length=1)
    baseline: str = Field(default="base", description="Variant that the others are compared with.")
    baselines: dict[str, dict[str, float | dict[str, float]]] = Field(
        default_factory=dict,
        description="What a variant must reach: {VARIANT: {EVALUATION: 0.31}} for the headline, or "
        "{VARIANT: {EVALUATION: {METRIC: 0.31}}}; four-way verdicts, and --gate.",
    )
    contrasts: tuple[tuple[str, str], ...] = Field(
        default=(),
        description="Further comparisons, the first cell minus the second on the items of both, whatever their "
        "evaluations: [[small/chat, large/served]].",
    )
    base_weights: Literal["full", "nf4"] = Field(
        default="full", description="How untouched models are loaded; nf4: the 4-bit weights that qlora starts from."
    )
    judges: dict[str, Judge] = Field(default_factory=dict, description="Judges by name, for evaluate.NAME.judges.")
    from_checkpoint: str | None = Field(
        default=None, description="from_checkpoint of the only entry of train; with several, each names its own."
    )
    unselected: tuple[str, ...] = Field(
        default=(), description="Set by selections: variants that evaluate.NAME.of and baselines may still name."
    )
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
    code: Code = Field(default_factory=Code, description="How code that a model wrote is kept in.")
    sweep: dict[str, list[Any]] = Field(
        default_factory=dict, description="Crosses any field: {recipe.lr: [1e-5, 1e-4]} or {model: [a, b]}."
    )
    smoke: bool = Field(default=False, description="Set by --smoke; only the configuration of a smoke run says it.")
    stand_ins: dict[str, str] = Field(
        default_factory=dict, description="Set by --smoke: the bundled model that is loaded in place of each other."
    )

    @property
    def first_task(self) -> str:
        """The study's task, or the first that an entry names."""
        named = [task for entry in self.train.values() for task in entry.tasks]
        return self.task or [*named, *(entry.task for entry in self.evaluate.values() if entry.task)][0]

    @model_validator(mode="before")
    @classmethod
    def _selections_are_settled(cls, raw: Any) -> Any:
        return _adopted(settled(raw))

    @field_validator("outputs", mode="before")
    @classmethod
    def _files_may_stand_alone(cls, outputs: Any) -> Any:
        """Read ``EVALUATION: FILE`` as ``EVALUATION: {file: FILE}``."""
        if not isinstance(outputs, dict):
            return outputs
        return {
            variant: {e: {"file": f} if isinstance(f, str) else f for e, f in cast(dict[str, Any], files).items()}
            if isinstance(files, dict)
            else files
            for variant, files in cast(dict[str, Any], outputs).items()
        }

    @field_validator("contrasts", mode="before")
    @classmethod
    def _contrasts_are_pairs(cls, pairs: Any) -> Any:
        listed: list[Any] = list(cast(list[Any], pairs)) if isinstance(pairs, list | tuple) else [None]
        for pair in listed:
            if not isinstance(pair, list | tuple) or [type(side) for side in cast(list[Any], pair)] != [str, str]:
                raise ValueError(
                    f"got {pairs!r}, expected pairs of cells; write [[VARIANT/EVALUATION, VARIANT/EVALUATION]]"
                )
        return pairs

    @field_validator("tasks")
    @classmethod
    def _tasks_are_a_tree(cls, tasks: dict[str, Any]) -> dict[str, Any]:
        check_tree(tasks)
        return tasks

    @model_validator(mode="after")
    def _weights_are_of_the_tree(self) -> Study:
        self.leaf_weights()
        return self

    def leaf_weights(self) -> dict[str, float]:
        """Return the weight of every task in averages; empty where all count the same. Raises ValueError."""
        if not self.task_weights:
            return {}
        try:
            return leaf_weights(self.task_weights, leaves(self.tasks), self.tasks, "task_weights")
        except StudyError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _names_exist(self) -> Study:
        for section, entries in (("train", self.train), ("evaluate", self.evaluate)):
            for name, entry in entries.items():
                if entry.format not in self.formats:
                    raise ValueError(f"{section}.{name}.format: got {entry.format!r}, expected a name under formats")
            for name, entry in entries.items():
                if entry.task is None and self.task is None:
                    raise ValueError(f"task: missing, and {section}.{name} names none; add one of the two")
        known = {"base", *self.models, *self.outputs, *self.train}
        if self.baseline not in known:
            raise ValueError(f"baseline: got {self.baseline!r}, expected one of {', '.join(sorted(known))}")
        if "base" in self.train:
            raise ValueError("train.base: the name 'base' is taken by the untouched model; rename the entry")
        if taken := [name for name in self.models if name in ("base", *self.train)]:
            raise ValueError(f"models.{taken[0]}: the name is taken by another variant; rename the model")
        return self

    @model_validator(mode="after")
    def _outputs_are_of_evaluations(self) -> Study:
        if taken := [name for name in self.outputs if name in ("base", *self.models, *self.train)]:
            raise ValueError(f"outputs.{taken[0]}: the name is taken by another variant; rename it")
        for name, files in self.outputs.items():
            if unknown := [evaluation for evaluation in files if evaluation not in self.evaluate]:
                raise ValueError(
                    f"outputs.{name}: got {unknown[0]!r}, expected an evaluation{nearest(unknown[0], self.evaluate)}"
                )
        return self

    @field_validator("model_names")
    @classmethod
    def _short_names_are_new(cls, names: dict[str, str]) -> dict[str, str]:
        for name, model in names.items():
            if name in BUNDLED or model in names:
                taken = f"{name!r}, a bundled model" if name in BUNDLED else f"{name!r} for {model!r}, a short name too"
                raise ValueError(f"got {taken}, expected a new name for a folder or a hub id")
        return names

    @model_validator(mode="after")
    def _served_models_are_not_trained(self) -> Study:
        untrained = [name for name, entry in self.train.items() if entry.model is None]
        if isinstance(self.model, EndpointModel) and untrained:
            raise ValueError(
                f"train.{untrained[0]}.model: missing, and the study's model {self.model.name} is behind a server, "
                "where nothing is trained; name a model to train"
            )
        return self

    @model_validator(mode="after")
    def _variants_exist(self) -> Study:
        known = ["base", *self.models, *self.outputs, *self.train, *self.unselected]
        named = [(f"evaluate.{name}.of", entry.of) for name, entry in self.evaluate.items() if entry.of is not None]
        for place, variants in [*named, ("baselines", tuple(self.baselines))]:
            for variant in variants:
                if variant not in known:
                    raise ValueError(f"{place}: got {variant!r}, expected a variant{nearest(variant, known)}")
        if empty := [place for place, variants in named if not variants]:
            raise ValueError(f"{empty[0]}: got none, expected at least one variant; leave it out for all of them")
        return self


def _adopted(raw: Any) -> Any:
    """Give a checkpoint that the study names to the entry that it can only mean."""
    if not isinstance(raw, dict) or cast(dict[str, Any], raw).get("from_checkpoint") is None:
        return raw
    given = cast(dict[str, Any], raw)
    entries: dict[str, Any] = given.get("train") or {}
    if len(entries) != 1:
        named = " or ".join(f"train.{name}.from_checkpoint" for name in entries)
        raise ValueError(
            f"from_checkpoint: got it beside {len(entries)} entries of train, expected one entry"
            + (f"; write {named}" if named else "")
        )
    [(name, entry)] = entries.items()
    own = {"from_checkpoint": given["from_checkpoint"]}
    adopted: Any = {**own, **entry} if isinstance(entry, dict) else entry.model_copy(update=own)
    return {**given, "from_checkpoint": None, "train": {name: adopted}}
