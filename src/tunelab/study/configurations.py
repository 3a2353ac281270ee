"""A trained variant's configuration: a study file of that variant alone, with every default written out.

It asks for the same train, generate and score steps as the study did, under the same fingerprints, so running it
over the same store repeats none of them. What the study left to a default or to the machine (split, token budget,
precision, the hub's latest commit) is written as what it was; matrix, sweep and shared sections are gone. Two values
stay open, because a step's identity holds them open: token budgets of grpo and dpo that default to the task's.

Paths are absolute, so a file works from wherever it lies. ``portable`` reduces them to names for other machines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from tunelab.data.downloads import is_url
from tunelab.engine.plan import topological
from tunelab.engine.step import Step
from tunelab.errors import StudyError
from tunelab.formats.format import Format
from tunelab.models.spec import BUNDLED as BUNDLED_MODELS
from tunelab.scoring.judges.guidelines import BUNDLED
from tunelab.scoring.judges.judge import Judge
from tunelab.study.cells import BASE, Cell, Variant
from tunelab.study.closing_plan import verdict_steps
from tunelab.study.compile import Compiled
from tunelab.study.search_plan import first_training
from tunelab.study.source import place
from tunelab.study.thresholds import minimums
from tunelab.study.worked_examples import examples_file
from tunelab.tasks.find import file_of, is_file
from tunelab.tasks.mixed import JOINT

Raw = dict[str, Any]
SHARED = ("question", "alpha", "mismatch", "data", "hardware", "smoke")
NOT_IN_NAMES = re.compile(r"[^\w.-]+", re.ASCII)


def configuration(compiled: Compiled, name: str) -> Raw:
    """Return a variant's study as plain JSON. Raises StudyError for a variant that is not trained in the study."""
    found = [cell for cell in compiled.cells if cell.variant.name == name]
    if name not in compiled.train or not found:
        raise StudyError(f"configuration: got {name!r}, expected one of {', '.join(compiled.train)}")
    study, variant = compiled.study, found[0].variant
    shared = study.model_dump(mode="json", include={*SHARED})
    return {
        "study": _study_name(study.study, name),
        **shared,
        "base_weights": "nf4" if compiled.settled.untouched.weights else "full",
        "data": shared["data"]
        | {"files": _absolute(study.data.files, compiled.folder), "splits": _splits(compiled, found)},
        "model": _model(compiled.train[name]),
        "task": None,
        "tasks": _tree(study.tasks, compiled.folder),
        "task_weights": _weights(study.task_weights, lambda task: _task(task, compiled.folder)),
        "formats": _formats(compiled, found),
        "train": {name: _train(compiled, variant)},
        "evaluate": {cell.evaluation.name: _evaluate(compiled, cell) for cell in found},
        "judges": _judges(compiled, found),
        "baseline": BASE,
        "baselines": _baselines(compiled, found),
        "seeds": [variant.seed],
    }


def _baselines(compiled: Compiled, found: Sequence[Cell]) -> Raw:
    """What the study asks of the variant, with every metric named."""
    asked = {c.evaluation.name: minimums(compiled.study, c, compiled.folder) for c in found}
    kept = {name: minimum for name, minimum in asked.items() if minimum}
    return {found[0].variant.name: kept} if kept else {}


def portable(settings: Raw) -> Raw:
    """Return a configuration in which a path is the name of a file or folder that lies beside it."""
    names = unique_names(needed_files(settings))
    data = dict(settings["data"])
    files = _mapped(data["files"], lambda path: names.get(path, path))
    entries = {part: {n: _renamed(e, names) for n, e in settings[part].items()} for part in ("train", "evaluate")}
    tree = _mapped(settings["tasks"], lambda task: _task_named(task, names))
    weights = _weights(settings["task_weights"], lambda task: _task_named(task, names))
    judges = {name: _judge_named(judge, names) for name, judge in settings["judges"].items()}
    formats = {n: {**f, "few_shots": _with_file(f["few_shots"], names)} for n, f in settings["formats"].items()}
    model = _model_named(settings["model"], names)
    splits = {t: _with_tokenizer(s, _tokenizer_named(s, names)) for t, s in data["splits"].items()}
    data |= {"files": files, "splits": splits}
    tasks = {"tasks": tree, "task_weights": weights}
    named = {"model": model, **tasks, "formats": formats, "data": data, "judges": judges}
    return {**settings, **entries, **named}


def needed_files(settings: Raw) -> list[str]:
    """Return the paths that a configuration names: task files, rows, worked examples, models' folders, guidelines."""
    tasks = [t for part in ("train", "evaluate") for e in settings[part].values() for t in _texts(e["task"])]
    files = [file.rpartition(":")[0] for file in [*tasks, *_texts(settings["tasks"])] if is_file(file)]
    rows = [*_texts(settings["data"]["files"]), *(e["file"] for e in settings["train"].values() if e["file"])]
    examples = [f["few_shots"]["file"] for f in settings["formats"].values() if f["few_shots"]["file"]]
    judges = settings["judges"].values()
    counting = [s["longest"]["tokenizer"] for s in settings["data"]["splits"].values() if s["longest"]]
    models = [settings["model"], *counting, *(judge["model"] or "" for judge in judges)]
    folders = [model for model in models if model.startswith(("/", "./"))]
    guidelines = [judge["guideline"] for judge in judges if judge["guideline"] not in BUNDLED]
    own = [path for path in (*rows, *examples) if not is_url(path)]
    return list(dict.fromkeys([*folders, *files, *own, *guidelines]))


def _study_name(study: str, variant: str) -> str:
    """Name the variant's own study, so that its results do not replace those of the study that it comes from."""
    plain, smoke = study.removesuffix("-smoke"), "-smoke" if study.endswith("-smoke") else ""
    return f"{plain}-{NOT_IN_NAMES.sub('-', variant)}{smoke}"


def _train(compiled: Compiled, variant: Variant) -> Raw:
    assert variant.train is not None
    assert variant.format is not None
    step = compiled.train[variant.name]
    recipe, adopted = step.settings["recipe"], _adopted(step)
    dumped = variant.train.model_dump(mode="json")
    weights = _weights(variant.train.mixture.weights, lambda task: _task(task, compiled.folder))
    return _judged_by_tasks(dumped, lambda task: _task(task, compiled.folder)) | {
        "mixture": {**dumped["mixture"], "weights": weights},
        "format": _format_name(compiled, variant.train.format, variant.format),
        "model": None,
        "task": [_task(task, compiled.folder) for task in variant.task.split(JOINT)],
        "precision": recipe.get("precision", variant.train.precision),
        "file": variant.train.file and _whole_path(variant.train.file, compiled.folder),
        "from_checkpoint": adopted,
        "published": None,
    }


def _adopted(step: Step) -> str | None:
    """Name a checkpoint that was adopted: a folder by its absolute path, or a hub id at its commit."""
    checkpoint = step.circumstance.get("checkpoint")
    return _named(checkpoint) if checkpoint else None


def _evaluate(compiled: Compiled, cell: Cell) -> Raw:
    score, asked = compiled.scores[cell.name], cell.evaluation
    outputs = score.inputs["outputs"].settings
    return asked.settings.model_dump(mode="json") | {
        "format": _format_name(compiled, asked.settings.format, asked.format),
        "task": _task(asked.task, compiled.folder),
        "split": score.inputs["rows"].settings["split"],
        "of": None,
        "max_new_tokens": outputs.get("decoding", {}).get("max_new_tokens"),
        "precision": outputs["precision"],
    }


def _splits(compiled: Compiled, found: Sequence[Cell]) -> Raw:
    """Keep the splits that are made of the variant's tasks, with the tokenizers that counted."""
    steps = topological([compiled.train[found[0].variant.name], *(compiled.scores[c.name] for c in found)])
    made = [step for step in steps if "made" in step.settings]
    counted = {step.settings["task"]["name"]: step.circumstance.get("tokenizer") for step in made}
    dumped = {task: compiled.study.data.splits[task].model_dump(mode="json") for task in counted}
    return {task: _with_tokenizer(dumped[task], model and _name_of(model)) for task, model in counted.items()}


def _with_tokenizer(splits: Raw, name: str | None) -> Raw:
    return splits if name is None else {**splits, "longest": {**splits["longest"], "tokenizer": name}}


def _judges(compiled: Compiled, found: Sequence[Cell]) -> Raw:
    """Keep the judges that the variant's rewards and evaluations name, with the models and files that were used."""
    train = first_training(compiled.train[found[0].variant.name])
    rewarding = train.settings.get("reward", {}).get("judges", {})
    used = {name: (identity, train.circumstance["judges"][name]) for name, identity in rewarding.items()}
    for cell in found:
        for name, step in verdict_steps(compiled.scores[cell.name]).items():
            used[name] = step.settings["judge"], step.circumstance
    return {name: _judge(compiled.study.judges[name], *how, compiled.folder) for name, how in used.items()}


def _judge(judge: Judge, identity: Mapping[str, Any], circumstance: Mapping[str, Any], folder: Path) -> Raw:
    known = judge.model_dump(mode="json")
    if judge.kind in ("causal", "guard"):
        known["model"] = _name_of(circumstance["model"])
    if judge.kind == "endpoint":
        known["endpoint"] = identity["asked"]["model"]["url"]
    if judge.guideline not in BUNDLED:
        known["guideline"] = str((folder / Path(judge.guideline).expanduser()).resolve())
    return known


def _judge_named(judge: Raw, names: Mapping[str, str]) -> Raw:
    model = judge["model"] and _model_named(judge["model"], names)
    return {**judge, "model": model, "guideline": names.get(judge["guideline"], judge["guideline"])}


def _model_named(model: str, names: Mapping[str, str]) -> str:
    return f"./{names[model]}" if model in names else model


def _tokenizer_named(splits: Raw, names: Mapping[str, str]) -> str | None:
    return _model_named(splits["longest"]["tokenizer"], names) if splits["longest"] else None


def _formats(compiled: Compiled, found: Sequence[Cell]) -> Raw:
    """Keep the formats that the variant uses, and those whose worked examples are kept out of all rows."""
    variant = found[0].variant
    assert variant.train is not None
    assert variant.format is not None
    used = {_format_name(compiled, variant.train.format, variant.format)}
    used |= {_format_name(compiled, c.evaluation.settings.format, c.evaluation.format) for c in found}
    formats = compiled.study.formats.items()
    return {name: _format(f, compiled.folder) for name, f in formats if name in used or f.few_shots.k}


def _format(fmt: Format, folder: Path) -> Raw:
    """Write a format out, with the file of its worked examples by its absolute path."""
    path = examples_file(fmt.few_shots, folder)
    dumped = fmt.model_dump(mode="json")
    return dumped | {"few_shots": dumped["few_shots"] | {"file": str(path.resolve()) if path else None}}


def _format_name(compiled: Compiled, declared: str, fmt: Format) -> str:
    """Return the name of a format; the points of a sweep may mean different formats by one name."""
    formats = compiled.study.formats
    if formats.get(declared) == fmt:
        return declared
    return next(name for name, known in formats.items() if known == fmt)


def _model(step: Step) -> str:
    """Name the model that was trained: a bundled one, a folder by its absolute path, or a hub id at its commit."""
    return _name_of(step.circumstance["model"])


def _name_of(model: Mapping[str, Any]) -> str:
    return model["name"] if model["name"] in BUNDLED_MODELS else _named(model)


def _named(found: Mapping[str, Any]) -> str:
    return found["location"] if found["revision"] is None else f"{found['location']}@{found['revision']}"


def _task(name: str, folder: Path) -> str:
    if not is_file(name):
        return name
    path, kind = file_of(name, folder)
    return f"{path}:{kind}"


def _tree(tree: Mapping[str, Any], folder: Path) -> Raw:
    return _mapped(tree, lambda task: _task(task, folder))


def _weights(weights: Mapping[str, float], change: Callable[[str], str]) -> dict[str, float]:
    """Return weights by what their tasks are called elsewhere; names of groups stay."""
    return {change(name): weight for name, weight in weights.items()}


def _judged_by_tasks(entry: Raw, change: Callable[[str], str]) -> Raw:
    """Return a training with the tasks that its judges are of by what they are called elsewhere."""
    rewards: Raw = entry["grpo"]["rewards"]
    judges = {name: {**judge, "of": _mapped(judge["of"], change)} for name, judge in rewards["judges"].items()}
    return {**entry, "grpo": {**entry["grpo"], "rewards": {**rewards, "judges": judges}}}


def _absolute(files: Mapping[str, Any], folder: Path) -> Raw:
    return _mapped(files, lambda path: _whole_path(path, folder))


def _whole_path(file: str, folder: Path) -> str:
    found = place(file, folder)
    return found if isinstance(found, str) else str(found.resolve())


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """Return nested mappings and lists with every text in them changed; keys stay."""
    if isinstance(value, Mapping):
        return {key: _mapped(below, change) for key, below in cast(Raw, value).items()}
    if isinstance(value, list | tuple):
        return [_mapped(item, change) for item in cast(Sequence[Any], value)]
    return change(value)


def _texts(value: Any) -> list[str]:
    """Return every text in nested mappings and lists, in order."""
    found: list[str] = []
    _mapped(value, lambda text: found.append(text) or text)
    return found


def unique_names(paths: Sequence[str]) -> dict[str, str]:
    """Give every path its last part as a name; a name that is taken gets a number."""
    names: dict[str, str] = {}
    for path in map(Path, paths):
        name, number = path.name, 1
        while name in names.values():
            number += 1
            name = f"{path.stem}-{number}{path.suffix}"
        names[str(path)] = name
    return names


def _renamed(entry: Raw, names: Mapping[str, str]) -> Raw:
    file = {"file": names.get(entry["file"], entry["file"])} if entry.get("file") else {}
    mixture: Raw = entry.get("mixture", {})
    weights = {"weights": _weights(mixture["weights"], lambda task: _task_named(task, names))} if mixture else {}
    mixed = {"mixture": {**mixture, **weights}} if mixture else {}
    rewarded = _judged_by_tasks(entry, lambda task: _task_named(task, names)) if "grpo" in entry else entry
    return {**rewarded, **file, **mixed, "task": _mapped(entry["task"], lambda task: _task_named(task, names))}


def _with_file(shots: Raw, names: Mapping[str, str]) -> Raw:
    return shots if shots["file"] is None else {**shots, "file": names[shots["file"]]}


def _task_named(task: str, names: Mapping[str, str]) -> str:
    path, _, kind = task.rpartition(":")
    return f"{names[path]}:{kind}" if is_file(task) else task
