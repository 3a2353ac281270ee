"""Generate: a variant answers every prompt of an evaluation. Resumes at the first batch that is not whole.

Text, choices and a classifier's labels differ in what is asked of the model; batches, files and resuming are one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunelab.data.sample import Sample
from tunelab.engine.context import StepContext
from tunelab.files import append_lines, resume_lines, write_lines
from tunelab.formats.format import Format
from tunelab.formats.renderer import Renderer
from tunelab.generation.batches import Asked, plan_batches, run_batches
from tunelab.generation.choose import manner
from tunelab.generation.classify import Classifier
from tunelab.generation.decoding import ChoiceRequest, Decoding, Output, Request
from tunelab.generation.engine.answerers import Answerers, answered_together
from tunelab.models.context import refuse_long_prompts
from tunelab.models.four_bit import from_identity
from tunelab.models.heads import load_classifier
from tunelab.models.load import load_config, load_kind, load_model, load_renderer, load_resident
from tunelab.models.spec import ModelRef
from tunelab.study.steps.rows import read_samples, read_shots
from tunelab.study.steps.trained import how_trained
from tunelab.tasks.find import find_task
from tunelab.tasks.task import ChoiceTask, Task, has_choices

OUTPUTS = "outputs.jsonl"


def run(context: StepContext) -> None:
    """Write ``outputs.jsonl``: a line a draw with prompt, output, token counts and how it ended."""
    settings, circumstance = context.settings, context.circumstance
    task = find_task(circumstance["task"], Path(circumstance["folder"]))
    ref = ModelRef(**circumstance["model"])
    fmt = Format(**settings["format"])
    renderer = load_renderer(ref, fmt, read_shots(task, context.inputs, fmt.few_shots.k))
    requests = requests_for(settings, read_samples(context.inputs["rows"]), task, renderer)
    refuse_long_prompts({r.id: len(r.ids) for r in requests}, budget(settings), load_config(ref))
    hardware = circumstance["hardware"]
    classifies = settings.get("by") == "classifier"
    size = hardware["generation_batch_size"] if classifies else answered_together(hardware, load_kind(ref))
    batches = plan_batches(requests, size)
    path = context.directory / OUTPUTS
    owed = unfinished(batches, path)
    done = len(requests) - sum(map(len, owed))
    if owed:
        answer = answerer(context, ref, task, renderer, [request.ids for request in requests])
        for outputs in run_batches(owed, answer):
            append_lines(path, [output.to_json() for output in outputs])
            done += len(outputs)
            context.progress(done, len(requests), "samples")
    context.facts.update(summary(resume_lines(path)))
    if settings.get("by") == "choose":
        context.facts["told_apart_by"] = sorted({manner(request) for request in requests})


def budget(settings: Mapping[str, Any]) -> int:
    """Return the most tokens that an answer takes: those of drawn text, one for a label."""
    return settings["decoding"]["max_new_tokens"] if "decoding" in settings else 1


def requests_for(settings: Mapping[str, Any], samples: Sequence[Sample], task: Task, renderer: Renderer) -> list[Any]:
    """Render every prompt: with the draws to make, or with the labels to choose from."""
    if "decoding" in settings:
        return make_requests(samples, task, renderer, settings["decoding"]["samples"])
    assert has_choices(task)
    return choice_requests(samples, task, renderer, settings["by"])


def answerer(
    context: StepContext, ref: ModelRef, task: Task, renderer: Renderer, prompts: Sequence[list[int]]
) -> Callable[[Any], Sequence[Output]]:
    """Load what answers a batch of requests, all of whose ids are ``prompts``."""
    settings, hardware = context.settings, context.circumstance["hardware"]
    if settings.get("by") == "classifier":
        return Classifier(load_classifying(ref, context), task.name, renderer.pad_id).run
    answerers = Answerers(
        load_trained(ref, context), renderer, hardware["generation"], hardware["generation_batch_size"]
    )
    context.facts["generation"] = answerers.described(prompts)
    if settings.get("by") == "choose":
        return answerers.chooser(prompts)
    return answerers.generator(Decoding(**settings["decoding"]), task.stop, prompts)


def choice_requests(samples: Sequence[Sample], task: ChoiceTask, renderer: Renderer, by: str) -> list[ChoiceRequest]:
    """Render every prompt, and its labels where they are read as answers."""
    found: list[ChoiceRequest] = []
    for sample in samples:
        messages, labels = task.messages(sample), task.choices(sample)
        prompt = renderer.prompt(messages)
        ids = [tuple(renderer.answer_ids(messages, label)) for label in labels] if by == "choose" else []
        found.append(ChoiceRequest(sample.id, 0, prompt.text, prompt.ids, labels, tuple(ids)))
    return found


def make_requests(samples: Sequence[Sample], task: Task, renderer: Renderer, draws: int) -> list[Request]:
    """Render every prompt once and ask for ``draws`` answers to each."""
    prompts = [(sample.id, renderer.prompt(task.messages(sample))) for sample in samples]
    return [Request(i, draw, prompt.text, prompt.ids) for i, prompt in prompts for draw in range(draws)]


def unfinished(batches: Sequence[list[Asked]], path: Path) -> list[list[Asked]]:
    """Return the batches that are still owed, and drop the rows of batches that a kill left half-written."""
    rows = resume_lines(path)
    written = {(row["id"], row["sample"]) for row in rows}
    owed = [batch for batch in batches if not all((r.id, r.sample) in written for r in batch)]
    again = {(r.id, r.sample) for batch in owed for r in batch}
    if written & again:
        write_lines(path, [row for row in rows if (row["id"], row["sample"]) not in again])
    return owed


def load_classifying(ref: ModelRef, context: StepContext) -> Any:
    """Load a trained backbone with its heads."""
    trained = how_trained(context.inputs["trained"], context.settings.get("checkpoint"))
    device, precision = context.circumstance["hardware"]["device"], context.settings["precision"]
    return load_classifier(ref, device, precision, trained.folder, trained.adapter, trained.four_bit)


def load_trained(ref: ModelRef, context: StepContext) -> Any:
    """Load the model as it was trained: the base, the base with its adapter, or all new weights."""
    device, precision = context.circumstance["hardware"]["device"], context.settings["precision"]
    artifact = context.inputs.get("trained")
    if artifact is None:
        weights = context.settings.get("weights")
        return load_resident(ref, device, precision, four_bit=from_identity(weights) if weights else None)
    trained = how_trained(artifact, context.settings.get("checkpoint"))
    if trained.adapter:
        return load_resident(ref, device, precision, trained.folder, trained.four_bit)
    return load_model(ModelRef(ref.name, str(trained.folder), None, ref.identity), device, precision)


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Count tokens and how answers ended."""
    endings = ("choice",) if any(row["finish"] == "choice" for row in rows) else ("stop", "stop_string", "length")
    finishes = {f: sum(row["finish"] == f for row in rows) for f in endings}
    return {
        "outputs": len(rows),
        "finish": finishes,
        "prompt_tokens": sum(row["prompt_tokens"] for row in rows),
        "output_tokens": sum(row["output_tokens"] for row in rows),
    }
