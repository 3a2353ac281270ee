"""Train: rows and a recipe become a variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunelab.data.sample import Sample
from tunelab.engine.context import StepContext
from tunelab.files import read_lines
from tunelab.formats.encoder_decoder import EncoderDecoderRenderer
from tunelab.formats.format import Format
from tunelab.formats.renderer import Renderer
from tunelab.models.context import refuse_long_rows
from tunelab.models.load import load_backbone, load_kind, load_model, load_renderer
from tunelab.models.spec import ModelRef
from tunelab.scoring.judges.exchange import Exchange
from tunelab.scoring.judges.judge import Verdict
from tunelab.study.kinds import refuse_unlike
from tunelab.study.steps.bench import Bench
from tunelab.study.steps.checkpointing import checkpoints
from tunelab.study.steps.pairs import PAIRS
from tunelab.study.steps.rows import read_samples, read_shots
from tunelab.study.steps.score import sandbox_of
from tunelab.study.steps.trained import four_bit
from tunelab.tasks.find import find_task
from tunelab.tasks.sandboxed import refuse_unsafe
from tunelab.tasks.task import Task
from tunelab.training.classifier import classifier_rows, train_classifier
from tunelab.training.dpo import preference_rows, train_dpo
from tunelab.training.grpo import train_grpo
from tunelab.training.job import Hardware, Job
from tunelab.training.judged import Ask
from tunelab.training.recipe import Recipe
from tunelab.training.rows import paired_rows, supervised_rows
from tunelab.training.seq2seq import train_seq2seq
from tunelab.training.sft import train_sft
from tunelab.training.sizes import weights_precision

EXAMPLE = "example.txt"
NO_OTHERS = "no other training that the run has to do shares base, rows, format and passes"


def run(context: StepContext) -> None:
    """Write ``model/``, ``metrics.jsonl`` and ``example.txt``."""
    settings, circumstance = context.settings, context.circumstance
    fmt, recipe, precision = read_settings(settings)
    task = find_task(circumstance["task"], Path(circumstance["folder"]), sandbox_of(context))
    ref = ModelRef(**circumstance["model"])
    refuse_unlike("recipe.method", recipe.method, ref.name, load_kind(ref))
    renderer = load_renderer(ref, fmt, read_shots(task, context.inputs, fmt.few_shots.k))
    tokenizer = renderer.tokenizer
    samples = read_samples(context.inputs["rows"])
    device, job = circumstance["hardware"]["device"], job_of(context)
    tell_fallback(context)
    context.facts["together"] = {"used": "alone", "reason": circumstance.get("together") or context.alone or NO_OTHERS}
    if recipe.head == "classifier":
        _classifier(context, job, samples, renderer, ref)
        return
    weights = weights_precision(recipe, precision)
    model = load_model(ref, device, weights, four_bit=four_bit(settings["recipe"]))
    if recipe.method == "grpo":
        refuse_unsafe(task, sandbox_of(context))
        judges, groups = reward_judges(context), settings.get("balanced")
        context.facts.update(train_grpo(job, samples, task, renderer, model, tokenizer, judges, groups))
        return
    if recipe.method == "dpo":
        pairs = preference_rows(read_lines(context.inputs["pairs"].path(PAIRS)), samples, task, renderer, recipe)
        refuse_long_rows(pairs.receipt["longest"], model.config)
        (context.directory / EXAMPLE).write_text(pairs.preview + "\n", encoding="utf-8")
        context.facts.update(train_dpo(job, pairs, model, tokenizer))
        return
    limits = recipe.max_length, recipe.max_too_long
    if isinstance(renderer, EncoderDecoderRenderer):
        rows, train = paired_rows(samples, task, renderer, *limits), train_seq2seq
    else:
        rows, train = supervised_rows(samples, task, renderer, recipe.loss or "completion", *limits), train_sft
    refuse_long_rows(rows.receipt["longest"], model.config)
    (context.directory / EXAMPLE).write_text(rows.preview + "\n", encoding="utf-8")
    context.facts.update(train(job, rows, model, tokenizer))


def job_of(context: StepContext) -> Job:
    """Return what a training needs besides its rows."""
    _, recipe, precision = read_settings(context.settings)
    hardware = context.circumstance["hardware"]
    return Job(
        recipe=recipe,
        precision=precision,
        seed=context.settings["seed"],
        hardware=Hardware(
            device=hardware["device"],
            micro_batch_size=hardware["micro_batch_size"],
            gradient_checkpointing=checkpoints(context, ModelRef(**context.circumstance["model"])),
            track=tuple(hardware["track"]),
            rollouts=hardware["rollouts"],
            rollout_batch_size=hardware["rollout_batch_size"],
            generation=hardware["generation"],
            packing=hardware["packing"],
        ),
        directory=context.directory,
        scratch=context.scratch,
        progress=context.progress,
    )


def tell_fallback(context: StepContext) -> None:
    """Keep in the record why a training runs otherwise than asked, where it does."""
    if "fallback" in context.circumstance:
        context.facts["fallback"] = context.circumstance["fallback"]


def reward_judges(context: StepContext) -> dict[str, Ask]:
    """Return what asks each judge that rewards a training; replies are shared with all that ask the same."""
    known: Mapping[str, Any] = context.settings["reward"].get("judges", {})
    return {name: _asking(context, name, judge) for name, judge in known.items()}


def _asking(context: StepContext, name: str, judge: Mapping[str, Any]) -> Ask:
    facts: dict[str, Any] = context.facts.setdefault("judges", {}).setdefault(name, {})
    circumstance = {**context.circumstance["judges"][name], "hardware": context.circumstance["hardware"]}
    bench = Bench(judge, circumstance, context.cache("verdicts"), facts)

    def ask(exchanges: Sequence[Exchange]) -> list[Verdict]:
        decided = bench.decide(exchanges)
        return [decided[exchange].verdict for exchange in exchanges]

    return ask


def _classifier(context: StepContext, job: Job, samples: Sequence[Sample], renderer: Renderer, ref: ModelRef) -> None:
    """Train a backbone with a head per task of the rows."""
    main = context.circumstance["task"]
    rows = classifier_rows(samples, _tasks(samples, context.circumstance), main, renderer, job.recipe)
    (context.directory / EXAMPLE).write_text(rows.preview + "\n", encoding="utf-8")
    precision = weights_precision(job.recipe, job.precision)
    device = context.circumstance["hardware"]["device"]
    backbone = load_backbone(ref, device, precision, four_bit=four_bit(context.settings["recipe"]))
    context.facts.update(train_classifier(job, rows, backbone, renderer.pad_id))


def _tasks(samples: Sequence[Sample], circumstance: Mapping[str, Any]) -> dict[str, Task]:
    """Find the tasks that the rows belong to, by the name that the rows use."""
    names = {circumstance["task"], *(s.metadata["task"] for s in samples if "task" in s.metadata)}
    return {name: find_task(name, Path(circumstance["folder"])) for name in sorted(names)}


def read_settings(settings: Any) -> tuple[Format, Recipe, str]:
    """Rebuild format, recipe and precision from a step's literal settings."""
    recipe = dict(settings["recipe"])
    precision = recipe["precision"]
    return Format(**settings["format"]), Recipe(**recipe), precision
