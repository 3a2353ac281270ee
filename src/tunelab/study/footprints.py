"""How much memory each step of a plan would take: what runs in a step, met with the model that it loads.

There is an estimate for steps that load a model into this process: train, generate and judge. It stands on the
longest row, which is known once rows are prepared and assumed before. What cannot be known is said, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tunelab.engine.context import StepContext
from tunelab.engine.step import Step
from tunelab.generation.footprint import Answering
from tunelab.models.architecture import Architecture, architecture
from tunelab.models.available import available_memory, own_memory
from tunelab.models.device import Device
from tunelab.models.footprint import Lengths, Parts, adapted, adapter_parameters, weight_bytes
from tunelab.models.spec import ModelRef, known_config
from tunelab.study.longest import Longest
from tunelab.training.footprint import Training
from tunelab.training.recipe import Recipe

Work = Training | Answering
"""What a step does with a model."""

LOADING = {f"tunelab.study.steps.{kind}:run" for kind in ("train", "generate", "judge")}
"""What loads a model; a step of the same kind may ask a server instead."""
RUNTIME: Mapping[Device, int] = {"cpu": 3 << 28, "cuda": 1 << 30, "mps": 3 << 28}
"""Bytes of the process with its libraries and rows; of a GPU's context and its kernels' buffers, not measured."""
AUTO = "auto"
LOADED_JUDGES = ("causal", "guard")
"""Kinds of judges that are models of this process."""
GIB = 1 << 30
PROMPT = 1024
"""Tokens of a prompt that nothing is known of."""


@dataclass(frozen=True)
class Footprint:
    """What a step does; ``assumed`` is what is not known of its rows yet."""

    work: Work
    assumed: str = ""

    @property
    def parts(self) -> Parts:
        """Return the bytes of the moment at which most is held, by what they are for, the largest first."""
        return parts_of(self.work)

    @property
    def total(self) -> int:
        """Return all of them."""
        return total_of(self.work)


def parts_of(work: Work) -> Parts:
    """Return the parts of a step's largest moment, the largest first."""
    largest = max(work.phases(), key=lambda parts: sum(parts.values()))
    found = {name: size for name, size in {**largest, "runtime": RUNTIME[work.device]}.items() if size}
    return dict(sorted(found.items(), key=lambda part: -part[1]))


def room_of(hardware: Mapping[str, Any]) -> int | None:
    """Return the bytes that a step may take: what the study says, or all that there is and this process holds."""
    if hardware.get("memory"):
        return int(hardware["memory"] * GIB)
    there = available_memory(hardware["device"])
    return None if there is None else there + own_memory(hardware["device"])


def total_of(work: Work) -> int:
    """Return the bytes of a step's largest moment."""
    return sum(parts_of(work).values())


def as_it_runs(work: Work, room: int | None) -> Work:
    """Return what a step does in ``room`` bytes: a training that may checkpoint does where it fits no other way.

    Where it fits in neither way it does not: its failure is then told in the words of what was asked for.
    """
    if not isinstance(work, Training) or not work.may_checkpoint or room is None or total_of(work) <= room:
        return work
    checkpointed = replace(work, gradient_checkpointing=True)
    return checkpointed if total_of(checkpointed) <= room else work


def footprint(step: Step, longest: Longest) -> Footprint | str | None:
    """Return what a step would take, or why that is not known; None where it loads no model."""
    if step.entry not in LOADING or not _loads(step):
        return None
    ref = ModelRef(**step.circumstance["model"])
    if (config := known_config(ref)) is None:
        return f"the configuration of {ref.name} is not on this machine"
    if (model := architecture(config)) is None:
        return f"{ref.name} is of a type that is not described here, {config.get('model_type')}"
    if step.kind == "train":
        return training_footprint(step, model, longest.of(step, ref))
    if step.kind == "judge":
        return _judging(step, model)
    return _answering(step, model, longest.of(step, ref))


def _loads(step: Step) -> bool:
    """Say whether a step loads a model: a judge may be a server, or no model at all."""
    return step.kind != "judge" or step.settings["judge"]["asked"]["kind"] in LOADED_JUDGES


def training_footprint(step: Step | StepContext, model: Architecture, known: Lengths | None) -> Footprint | str:
    """Return what a training would take, planned or about to begin, or why that is not known."""
    recipe, hardware = Recipe(**step.settings["recipe"]), step.circumstance["hardware"]
    if recipe.method == "grpo" and hardware["rollouts"] == "vllm":
        return "what vLLM takes beside a training is not known"
    if recipe.adapter and adapted(model, recipe.lora.targets) is None:
        return f"lora.targets names modules that are not known here, {', '.join(recipe.lora.targets)}"
    if isinstance(judges := _reward_judges(step), str):
        return judges
    budget = budget_of(step.settings["reward"]) if recipe.method == "grpo" else 0
    lengths, assumed = training_lengths(recipe, known, budget)
    work = Training(
        model=model.without_head() if recipe.head == "classifier" else model,
        recipe=recipe,
        precision=step.settings["recipe"]["precision"],
        device=hardware["device"],
        micro_batch_size=hardware["micro_batch_size"],
        gradient_checkpointing=hardware["gradient_checkpointing"] is True,
        may_checkpoint=hardware["gradient_checkpointing"] == AUTO,
        drawn_together=hardware["rollout_batch_size"],
        lengths=lengths,
        packed=hardware["packing"] == "auto" and _packs(recipe),
        engine=hardware["generation"] == AUTO and model.kind == "causal",
        judges=judges,
    )
    return Footprint(work, assumed)


def _packs(recipe: Recipe) -> bool:
    """Say whether a training's rows can lie end to end, or completions behind their prompts."""
    return (recipe.method == "sft" and recipe.head == "lm") or (recipe.method == "grpo" and not recipe.grpo.beta)


def budget_of(reward: Mapping[str, Any]) -> int:
    """Return the most tokens of a completion: of several tasks that of the longest answers."""
    return max(ends["max_new_tokens"] for ends in reward.get("members", [reward]))


def _reward_judges(step: Step | StepContext) -> int | str:
    """Return the bytes of the judges' weights that a training loads beside its own, or why they are not known."""
    total = 0
    for name, judge in step.settings.get("reward", {}).get("judges", {}).items():
        if judge["asked"]["kind"] not in LOADED_JUDGES:
            continue
        ref = ModelRef(**step.circumstance["judges"][name]["model"])
        config = known_config(ref)
        model = architecture(config) if config else None
        if model is None:
            return f"the size of judge {name}, {ref.name}, cannot be read on this machine"
        total += weight_bytes(model, judge["asked"]["precision"])
    return total


def training_lengths(recipe: Recipe, known: Lengths | None, budget: int) -> tuple[Lengths, str]:
    """Return a training's longest row, and what is assumed of it: rows of more than ``max_length`` are left out."""
    if recipe.method == "grpo":
        prompt, assumed = (known.prompt, "") if known else (PROMPT, f"prompts of {PROMPT} tokens")
        return Lengths(prompt, budget, prompt + budget, known.shared if known else 0), assumed
    limit = recipe.max_length
    if known is None:
        return Lengths(limit, limit, limit), f"rows of {limit} tokens (max_length)"
    row = known.prompt if recipe.head == "classifier" else known.row
    return Lengths(known.prompt, known.answer, row).within(limit), ""


def _answering(step: Step, model: Architecture, known: Lengths | None) -> Footprint:
    settings, hardware = step.settings, step.circumstance["hardware"]
    recipe: Mapping[str, Any] = step.inputs["trained"].settings["recipe"] if "trained" in step.inputs else {}
    decoding = settings.get("decoding")
    answer = decoding["max_new_tokens"] if decoding else 0
    prompt, assumed = (known.prompt, "") if known else (PROMPT, f"prompts of {PROMPT} tokens")
    work = Answering(
        model=model.without_head() if settings.get("by") == "classifier" else model,
        precision=settings["precision"],
        device=hardware["device"],
        batch_size=hardware["generation_batch_size"],
        lengths=Lengths(prompt, answer, prompt + answer, known.shared if known else 0),
        engine=hardware["generation"] == AUTO and model.kind == "causal" and settings.get("by") != "classifier",
        sampled=bool(decoding) and decoding["temperature"] > 0,
        adapter=_adapter(model, recipe),
        four_bit=recipe.get("qlora") or settings.get("weights"),
    )
    return Footprint(work, assumed)


def _adapter(model: Architecture, recipe: Mapping[str, Any]) -> int:
    """Return the parameters of a variant's adapter; 0 for one from elsewhere, of which nothing is known yet."""
    lora = recipe.get("lora")
    return adapter_parameters(adapted(model, lora["targets"]) or {}, lora["rank"]) if lora else 0


def _judging(step: Step, model: Architecture) -> Footprint:
    asked, hardware = step.settings["judge"]["asked"], step.circumstance["hardware"]
    answer = asked["max_new_tokens"]
    work = Answering(
        model=model,
        precision=asked["precision"],
        device=hardware["device"],
        batch_size=hardware["generation_batch_size"],
        lengths=Lengths(PROMPT, answer, PROMPT + answer),
        engine=hardware["generation"] == AUTO and model.kind == "causal",
        sampled=asked["temperature"] > 0,
    )
    return Footprint(work, f"exchanges of {PROMPT} tokens")
