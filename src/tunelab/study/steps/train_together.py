"""Trainings that run at once: adapters over one base, each of which leaves what it would leave by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tunelab.engine.context import StepContext
from tunelab.errors import ModelError
from tunelab.models.architecture import architecture
from tunelab.models.context import refuse_long_rows
from tunelab.models.load import load_config, load_model, load_renderer
from tunelab.models.spec import ModelRef, known_config
from tunelab.study.fitting import gib
from tunelab.study.footprints import Footprint, room_of, training_footprint
from tunelab.study.longest import longest_of
from tunelab.study.steps.rows import read_samples, read_shots
from tunelab.study.steps.train import EXAMPLE, job_of, read_settings, tell_fallback
from tunelab.tasks.find import find_task
from tunelab.training.checkpoints import common_checkpoint, forget_after
from tunelab.training.job import Job
from tunelab.training.packing import unpackable
from tunelab.training.rows import supervised_rows
from tunelab.training.sft import total_steps
from tunelab.training.together import FEWEST_STEPS, MOST, train_together


def plan(contexts: Sequence[StepContext]) -> Callable[[], None] | str:
    """Return what trains all, or why each is to be trained by itself."""
    first = contexts[0]
    steps = total_steps(read_settings(first.settings)[1], len(read_samples(first.inputs["rows"])))
    if steps < FEWEST_STEPS:
        return f"{steps} steps, expected at least {FEWEST_STEPS}"
    if dropping := dropouts(load_config(ModelRef(**first.circumstance["model"]))):
        return f"the base has {dropping}"
    reached = common_checkpoint([context.scratch for context in contexts])
    if reached is None:
        return "they were interrupted at different steps"
    jobs = [job_of(context) for context in contexts]
    if any(job.hardware.gradient_checkpointing for job in jobs):
        return "hardware.gradient_checkpointing is on"
    if reason := too_much(contexts):
        return reason
    return lambda: _run(contexts, jobs, reached)


def too_much(contexts: Sequence[StepContext]) -> str:
    """Return why trainings do not fit into memory together, where that is known: the base is there once."""
    first = contexts[0]
    ref, room = ModelRef(**first.circumstance["model"]), room_of(first.circumstance["hardware"])
    config, longest = known_config(ref), longest_of(first, ref, first.inputs)
    model = architecture(config) if config else None
    found = [training_footprint(context, model, longest) for context in contexts] if model else []
    each = [one for one in found if isinstance(one, Footprint)]
    if room is None or not each:
        return ""
    once = min(one.parts.get("weights", 0) + one.parts.get("runtime", 0) for one in each)
    needed = sum(sorted((one.total - once for one in each), reverse=True)[:MOST]) + once
    return "" if needed <= room else f"together they need {gib(needed)}, and {gib(room)} are there"


def _run(contexts: Sequence[StepContext], jobs: Sequence[Job], reached: int) -> None:
    first, device = contexts[0], contexts[0].circumstance["hardware"]["device"]
    fmt, recipe, _ = read_settings(first.settings)
    ref = ModelRef(**first.circumstance["model"])
    task = find_task(first.circumstance["task"], Path(first.circumstance["folder"]))
    renderer = load_renderer(ref, fmt, read_shots(task, first.inputs, fmt.few_shots.k))
    samples = read_samples(first.inputs["rows"])
    rows = supervised_rows(samples, task, renderer, recipe.loss or "completion", recipe.max_length, recipe.max_too_long)
    base = load_model(ref, device, "fp32")
    refuse_long_rows(rows.receipt["longest"], base.config)
    if reason := unpackable(base, rows.rows, exact=True):
        raise ModelError(f"packing: {reason}")
    for context in contexts:
        forget_after(context.scratch, reached)
        (context.directory / EXAMPLE).write_text(rows.preview + "\n", encoding="utf-8")
        tell_fallback(context)
    names = [context.name for context in contexts]
    for context, facts in zip(contexts, train_together(jobs, rows, base, renderer.tokenizer), strict=True):
        facts["together"]["with"] = [name for name in names if name != context.name]
        context.facts.update(facts)


def dropouts(config: Any) -> str:
    """Name the dropouts of a base's configuration, which would draw in another order."""
    known = config.get_text_config().to_dict().items()
    found = [name for name, value in known if "drop" in name and isinstance(value, float) and value > 0]
    return ", ".join(sorted(found))
