"""Unify: mixed and scored rows of several tasks in one shape, with a receipt that adds up.

Every line has ``id``, ``dataset`` (the task), ``domain`` (its group), ``question`` (what the user is told),
``reference_answer`` (the plainest accepted one), ``answer_type``, and ``metadata`` with all ``accepted`` answers where
there are several. A row that is repeated is there as often as it is trained on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunelab.data.mixtures import TASK, mix
from tunelab.data.sample import Sample
from tunelab.engine.context import StepContext
from tunelab.engine.record import Artifact
from tunelab.errors import DataError
from tunelab.files import write_json, write_lines
from tunelab.study.steps.rows import read_samples
from tunelab.study.unified_plan import CHECK, INDEX, INFO, SCORED, TEST_ROWS, TOKENS, TRAIN, TRAIN_ROWS, files_of
from tunelab.tasks.accepted import accepted_answers, exchange_of
from tunelab.tasks.find import find_task
from tunelab.tasks.sandboxed import runs_code
from tunelab.tasks.task import Task, has_choices

Row = dict[str, Any]


def run(context: StepContext) -> None:
    """Write the files of ``unified_plan.contents``; the facts have the receipt, which is ``info.json``."""
    domains: Mapping[str, str] = context.settings["domains"]
    folder = Path(context.circumstance["folder"])
    tasks = {name: find_task(name, folder) for name in domains}
    train = read_samples(context.inputs[TRAIN])
    inputs = {name: context.inputs[f"{SCORED}{name}"] for name in tasks if f"{SCORED}{name}" in context.inputs}
    scored = {name: read_samples(artifact) for name, artifact in inputs.items()}
    _write(context, TRAIN_ROWS, train, tasks, domains)
    files = files_of(tasks)
    for name, samples in scored.items():
        marked = [Sample(s.id, s.fields, s.targets, {**s.metadata, TASK: name}) for s in samples]
        _write(context, files[name], marked, tasks, domains)
    mixed, mixture = mixed_once(scored, context.settings["rule"], domains)
    _write(context, TEST_ROWS, mixed, tasks, domains)
    index = [
        {"dataset": name, "domain": domains[name], "file": files[name], "rows": len(samples)}
        for name, samples in scored.items()
    ]
    write_json(context.directory / INDEX, index)
    info = {
        "rule": dict(context.settings["rule"]),
        "train": summary(
            context.inputs[TRAIN].record.facts["receipt"]["sources"],
            domains,
            tokens_by_task(context.inputs.get(TOKENS)),
        ),
        "test": mixture,
        "splits": splits(context.inputs, context.inputs[TRAIN].record.facts["receipt"]["sources"]),
        "leaks": leaks(context.inputs),
    }
    write_json(context.directory / INFO, info)
    context.facts["receipt"] = info


def mixed_once(
    scored: Mapping[str, Sequence[Sample]], rule: Mapping[str, Any], domains: Mapping[str, str]
) -> tuple[list[Sample], Row]:
    """Return the scored rows mixed by a rule, none twice, and the receipt, or why so few rows cannot be mixed so."""
    try:
        mixed, drawn = mix(scored, {**rule, "size": "smallest", "max_repeats": 1.0}) if scored else ([], {})
    except DataError as error:
        return [], {"rows": 0, "error": str(error)}
    return mixed, summary(drawn, domains, None)


def _write(
    context: StepContext, name: str, samples: Sequence[Sample], tasks: Mapping[str, Task], domains: Mapping[str, str]
) -> None:
    path = context.directory / name
    path.parent.mkdir(exist_ok=True)
    write_lines(path, [unified(tasks[s.metadata[TASK]], s, domains[s.metadata[TASK]]) for s in samples])


def unified(task: Task, sample: Sample, domain: str) -> Row:
    """Return a sample in the shape that all tasks share."""
    name, accepted = sample.metadata[TASK], accepted_answers(task, sample)
    known = {key: value for key, value in sample.metadata.items() if key != TASK}
    return {
        "id": sample.id if sample.id.startswith(f"{name}/") else f"{name}/{sample.id}",
        "dataset": name,
        "domain": domain,
        "question": exchange_of(task, sample, "").asked,
        "reference_answer": accepted[0] if accepted else "",
        "answer_type": answer_type(task),
        "metadata": known | ({"accepted": list(accepted)} if len(accepted) > 1 else {}),
    }


def answer_type(task: Task) -> str:
    """Return what kind of answer a task wants: its own ``answer_type``, else what it is scored by."""
    own: Any = getattr(task, "answer_type", None)
    return own or ("code" if runs_code(task) else "choice" if has_choices(task) else "text")


def tokens_by_task(tokenised: Artifact | None) -> Mapping[str, int]:
    """Return the tokens of each task's rows as the variant reads them; none where its model is not there."""
    if tokenised is None:
        return {}
    sources: Mapping[str, Any] = tokenised.record.facts["receipt"]["tokenised"].get("sources", {})
    return {name: found["tokens"] for name, found in sources.items()}


def summary(
    sources: Mapping[str, Mapping[str, Any]], domains: Mapping[str, str], tokens: Mapping[str, int] | None
) -> Row:
    """Return the receipt of a mixture, by task and by domain; tokens that could not be counted are null."""
    rows: Counter[str] = Counter()
    for name, found in sources.items():
        rows[domains[name]] += found["rows"]
    total = sum(rows.values())

    def counted(number: int | None) -> Row:
        return {} if tokens is None else {"tokens": number}

    return {
        "rows": total,
        "unique": sum(found["unique"] for found in sources.values()),
        **counted(sum((tokens or {}).values()) or None),
        "sources": {
            name: {"domain": domains[name], **found, **counted((tokens or {}).get(name))}
            for name, found in sources.items()
        },
        "domains": {name: {"rows": n, "share": n / total} for name, n in rows.items()},
    }


def splits(inputs: Mapping[str, Artifact], sources: Mapping[str, Mapping[str, Any]]) -> Row:
    """Return how each scored task's rows were parted from those that are trained on, where the study did that.

    ``unused`` counts the rows of the parts to train on that the mixture cannot draw: leaks, and what is too much.
    """
    made: Row = {}
    for name, artifact in inputs.items():
        if name.startswith(SCORED):
            found = artifact.record.facts["receipt"].get("made")
            settings = artifact.record.settings.get("made")
            if found and settings:
                kept = {key: found[key] for key in ("from", "available", "groups", "rows")}
                task, scored = name.removeprefix(SCORED), artifact.record.settings["split"]
                others = sum(rows for part, rows in found["rows"].items() if part != scored)
                unused = {"unused": others - sources[task]["available"]}
                made[task] = {**kept, **unused, "shares": settings["shares"], "seed": settings["seed"]}
    return made


def leaks(inputs: Mapping[str, Artifact]) -> list[Row]:
    """Return what each leak check found, and what it does about it."""
    checks = [artifact.record for name, artifact in inputs.items() if name.startswith(CHECK)]
    return [{"rows": record.slug, "policy": record.settings["policy"], **record.facts["leaks"]} for record in checks]
