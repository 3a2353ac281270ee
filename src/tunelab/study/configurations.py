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

from tunelab.engine.step import Step
from tunelab.errors import StudyError
from tunelab.formats.format import Format
from tunelab.models.spec import TINY
from tunelab.study.cells import BASE, Cell, Variant
from tunelab.study.compile import Compiled
from tunelab.study.thresholds import minimums
from tunelab.tasks.mixed import JOINT
from tunelab.tasks.task import file_of, is_file

Raw = dict[str, Any]
NOT_IN_NAMES = re.compile(r"[^\w.-]+", re.ASCII)


def configuration(compiled: Compiled, name: str) -> Raw:
    """Return a variant's study as plain JSON. Raises StudyError for a variant that is not trained in the study."""
    found = [cell for cell in compiled.cells if cell.variant.name == name]
    if name not in compiled.train or not found:
        raise StudyError(f"configuration: got {name!r}, expected one of {', '.join(compiled.train)}")
    study, variant = compiled.study, found[0].variant
    shared = study.model_dump(mode="json", include={"question", "alpha", "mismatch", "data", "hardware", "smoke"})
    return {
        "study": _study_name(study.study, name),
        **shared,
        "data": shared["data"] | {"files": _absolute(study.data.files, compiled.folder)},
        "model": _model(compiled.train[name]),
        "task": None,
        "tasks": _tree(study.tasks, compiled.folder),
        "formats": _formats(compiled, found),
        "train": {name: _train(compiled, variant)},
        "evaluate": {cell.evaluation.name: _evaluate(compiled, cell) for cell in found},
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
    data = settings["data"]
    files = _mapped(data["files"], lambda path: names[path])
    entries = {part: {n: _renamed(e, names) for n, e in settings[part].items()} for part in ("train", "evaluate")}
    tree = _mapped(settings["tasks"], lambda task: _task_named(task, names))
    model = f"./{names[settings['model']]}" if settings["model"] in names else settings["model"]
    return {**settings, **entries, "model": model, "tasks": tree, "data": data | {"files": files}}


def needed_files(settings: Raw) -> list[str]:
    """Return the paths that a configuration names: task files, rows, a model's folder."""
    tasks = [t for part in ("train", "evaluate") for e in settings[part].values() for t in _texts(e["task"])]
    files = [file.rpartition(":")[0] for file in [*tasks, *_texts(settings["tasks"])] if is_file(file)]
    model = [settings["model"]] if settings["model"].startswith(("/", "./")) else []
    return list(dict.fromkeys([*model, *files, *_texts(settings["data"]["files"])]))


def _study_name(study: str, variant: str) -> str:
    """Name the variant's own study, so that its results do not replace those of the study that it comes from."""
    plain, smoke = study.removesuffix("-smoke"), "-smoke" if study.endswith("-smoke") else ""
    return f"{plain}-{NOT_IN_NAMES.sub('-', variant)}{smoke}"


def _train(compiled: Compiled, variant: Variant) -> Raw:
    assert variant.train is not None
    assert variant.format is not None
    step = compiled.train[variant.name]
    return variant.train.model_dump(mode="json") | {
        "format": _format_name(compiled, variant.train.format, variant.format),
        "model": None,
        "task": [_task(task, compiled.folder) for task in variant.task.split(JOINT)],
        "precision": step.settings["recipe"]["precision"],
    }


def _evaluate(compiled: Compiled, cell: Cell) -> Raw:
    score, asked = compiled.scores[cell.name], cell.evaluation
    outputs = score.inputs["outputs"].settings
    return asked.settings.model_dump(mode="json") | {
        "format": _format_name(compiled, asked.settings.format, asked.format),
        "task": _task(asked.task, compiled.folder),
        "split": score.inputs["rows"].settings["split"],
        "max_new_tokens": outputs.get("decoding", {}).get("max_new_tokens"),
        "precision": outputs["precision"],
    }


def _formats(compiled: Compiled, found: Sequence[Cell]) -> Raw:
    """Keep the formats that the variant uses, and those whose worked examples are kept out of all rows."""
    variant = found[0].variant
    assert variant.train is not None
    assert variant.format is not None
    used = {_format_name(compiled, variant.train.format, variant.format)}
    used |= {_format_name(compiled, c.evaluation.settings.format, c.evaluation.format) for c in found}
    formats = compiled.study.formats.items()
    return {name: f.model_dump(mode="json") for name, f in formats if name in used or f.few_shots.k}


def _format_name(compiled: Compiled, declared: str, fmt: Format) -> str:
    """Return the name of a format; the points of a sweep may mean different formats by one name."""
    formats = compiled.study.formats
    if formats.get(declared) == fmt:
        return declared
    return next(name for name, known in formats.items() if known == fmt)


def _model(step: Step) -> str:
    """Name the model that was trained: the bundled one, a folder by its absolute path, or a hub id at its commit."""
    model = step.circumstance["model"]
    if model["name"] == TINY:
        return TINY
    return model["location"] if model["revision"] is None else f"{model['location']}@{model['revision']}"


def _task(name: str, folder: Path) -> str:
    if not is_file(name):
        return name
    path, kind = file_of(name, folder)
    return f"{path}:{kind}"


def _tree(tree: Mapping[str, Any], folder: Path) -> Raw:
    return _mapped(tree, lambda task: _task(task, folder))


def _absolute(files: Mapping[str, Any], folder: Path) -> Raw:
    return _mapped(files, lambda path: str((folder / path).resolve()))


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
    return {**entry, "task": _mapped(entry["task"], lambda task: _task_named(task, names))}


def _task_named(task: str, names: Mapping[str, str]) -> str:
    path, _, kind = task.rpartition(":")
    return f"{names[path]}:{kind}" if is_file(task) else task
