"""Cells: which variants are evaluated how, with names that stay short.

A variant is what training yields, an evaluation is how it is scored, a cell is a pair of them. The points of a
sweep are laid over each other: what is equal in all of them appears once under its own name, what differs gets
the point's label.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from tunelab.errors import StudyError
from tunelab.formats.format import Format
from tunelab.study.endpoint_model import AnyModel, EndpointModel
from tunelab.study.entries import Evaluate, Imported, Train
from tunelab.study.spec import Study
from tunelab.tasks.mixed import JOINT
from tunelab.training.recipe import OF_METHOD

BASE = "base"
LABEL = re.compile("[#@]")
"""Begins what a seed or a point of a sweep adds to a name."""
By = Literal["generate", "choose", "classifier"]

NamesFormat = TypeVar("NamesFormat", Train, Evaluate)
Labels = Mapping[tuple[str, Hashable], str]
"""Names that are unique in a study, by the name in the file and what it stands for."""


@dataclass(frozen=True)
class Variant:
    """An untouched model (``train`` is None) or what one recipe makes of it with one seed."""

    name: str
    model: str
    train: Train | None
    format: Format | None
    task: str
    """A task, or several that are mixed, joined by " + "."""
    seed: int
    checkpoint: tuple[int, int] | None = None
    """(i, n): its training's weights at i of n evenly spaced points, in place of those at the end."""
    served: EndpointModel | None = None
    """The server that the model is behind; None where it is loaded here."""
    imported: Mapping[str, Imported] | None = None
    """The files that its outputs are in, by evaluation; None where it is asked here."""


@dataclass(frozen=True)
class Evaluation:
    """One way to score variants."""

    name: str
    settings: Evaluate
    format: Format
    task: str


@dataclass(frozen=True)
class Cell:
    """A variant under an evaluation, and how it answers.

    ``matched`` is None for the base: it was trained in no format of ours.
    """

    variant: Variant
    evaluation: Evaluation
    baseline: Variant | None
    matched: bool | None
    by: By = "generate"

    @property
    def name(self) -> str:
        """``variant/evaluation``."""
        return f"{self.variant.name}/{self.evaluation.name}"


def cells(points: Sequence[tuple[str, Study]]) -> list[Cell]:
    """Return every cell of a study once, in the file's order. Raises StudyError for an undeclared mismatch."""
    raw = [(label, cell) for label, study in points for cell in _point_cells(study)]
    variant_labels = _labels((label, c.variant.name, _key(c.variant)) for label, c in raw)
    evaluation_labels = _labels((label, c.evaluation.name, repr(c.evaluation)) for label, c in raw)
    format_labels = _labels((label, n, repr(f)) for label, study in points for n, f in study.formats.items())
    named: dict[str, Cell] = {}
    for _, cell in raw:
        relabelled = replace(
            cell,
            variant=_renamed(cell.variant, variant_labels, format_labels),
            evaluation=replace(
                cell.evaluation,
                name=evaluation_labels[cell.evaluation.name, repr(cell.evaluation)],
                settings=_named_format(cell.evaluation.settings, cell.evaluation.format, format_labels),
            ),
            baseline=_renamed(cell.baseline, variant_labels, format_labels) if cell.baseline else None,
        )
        named.setdefault(relabelled.name, relabelled)
    if points:
        _refuse_one_file(points[0][1].study, list(named.values()))
    return list(named.values())


def _refuse_one_file(study: str, named: Sequence[Cell]) -> None:
    """Raise StudyError where two names would be one file under results, and each overwrite the other's."""
    files: dict[tuple[str, str], str] = {}
    for cell in named:
        variant, evaluation = cell.variant.name, cell.evaluation.name
        for kind, name, file in (
            ("variant", variant, file_name(variant)),
            ("evaluation", evaluation, file_name(evaluation)),
            ("cell", cell.name, cell_folder(variant, evaluation)),
        ):
            if (other := files.setdefault((kind, file), name)) != name:
                raise StudyError(
                    f"{study}: the {kind}s {other!r} and {name!r} would both be {file!r} under results, expected names "
                    "that differ as files, where / is written as -; rename one"
                )


def _point_cells(study: Study) -> list[Cell]:
    variants = _variants(study)
    found: list[Cell] = []
    for variant in variants:
        for name, settings in study.evaluate.items():
            if not _is_of(study, name, variant, variants):
                continue
            evaluation = Evaluation(name, settings, study.formats[settings.format], settings.task or study.task or "")
            matched = _matched(variant, evaluation)
            if matched is False and study.mismatch == "skip":
                continue
            if matched is False and study.mismatch == "refuse":
                raise StudyError(
                    f"{study.study}: {variant.name} was trained under another format than evaluate.{name} uses; "
                    "write mismatch: allow to compare formats, or mismatch: skip to leave such cells out"
                )
            baseline = _baseline(study, variant, variants)
            asked = baseline and _is_of(study, name, baseline, variants)
            found.append(Cell(variant, evaluation, baseline if asked else None, matched))
    return found


def _is_of(study: Study, name: str, variant: Variant, variants: Sequence[Variant]) -> bool:
    """Say whether an evaluation is of a variant: one that ``of`` names, or what the trained ones are compared with.

    An untouched model that is named alone is asked alone: another may not even have its template. Outputs from files
    are of the evaluations that have one.
    """
    settings = study.evaluate[name]
    if variant.imported is not None:
        return name in variant.imported
    if settings.of is None:
        return True
    if variant.train is not None or variant.name in settings.of:
        return _entry(variant) in (*settings.of, study.baseline)
    if variant.name not in study.models and BASE in settings.of:
        return True
    return variant in [_baseline(study, v, variants) for v in variants if v.train and _entry(v) in settings.of]


def _entry(variant: Variant) -> str:
    """Return the name of a variant's entry, whatever its seed."""
    return plain_name(variant.name)


def plain_name(name: str) -> str:
    """Return the name of a variant or an evaluation without what a seed or a point of a sweep adds."""
    return LABEL.split(name)[0]


def _variants(study: Study) -> list[Variant]:
    found = [_untouched(name, model, study) for name, model in _untouched_models(study)]
    for name, train in study.train.items():
        seeds = study.seeds[:1] if train.from_checkpoint else study.seeds  # weights from elsewhere are what they are
        for seed in seeds:
            label = name if len(seeds) == 1 else f"{name}#{seed}"
            fmt = study.formats[train.format]
            task = JOINT.join(train.tasks) or study.task or ""
            found.append(Variant(label, train.model or _name(study.model), train, fmt, task, seed))
    found += [Variant(n, n, None, None, study.task or "", 0, imported=files) for n, files in study.outputs.items()]
    names = [variant.name for variant in found]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise StudyError(f"{study.study}: two variants have the name {repeated[0]!r}; rename a train entry or a model")
    return found


def _untouched_models(study: Study) -> list[tuple[str, AnyModel]]:
    """Name the models as variants: the study's, the further ones, and what else is trained."""
    named = {BASE: study.model, **study.models}
    trained = dict.fromkeys(t.model for t in study.train.values() if t.model and t.model not in named.values())
    return [*named.items(), *((f"{BASE}_{_short(model)}", model) for model in trained)]


def _untouched(name: str, model: AnyModel, study: Study) -> Variant:
    served = model if isinstance(model, EndpointModel) else None
    return Variant(name, _name(model), None, None, study.task or "", 0, served=served)


def _name(model: AnyModel) -> str:
    return model if isinstance(model, str) else model.name


def _baseline(study: Study, variant: Variant, variants: Sequence[Variant]) -> Variant | None:
    """Return what a variant is compared with: the named variant of the same seed, or its own model's base.

    A further untouched model is compared with the study's, and so are outputs from files.
    """
    if study.baseline == BASE and variant.train is None:
        further = variant.name in study.models or variant.imported is not None
        return next(v for v in variants if v.name == BASE) if further else None
    if study.baseline == BASE:
        same = (v for v in variants if v.train is None and v.model == variant.model and v.served is None)
        return next(same, None)
    named = [v for v in variants if _entry(v) == study.baseline]
    return None if variant in named else next((v for v in named if v.seed == variant.seed), named[0])


def _matched(variant: Variant, evaluation: Evaluation) -> bool | None:
    """Formats match when they render a question alike; worked examples before it may differ."""
    if variant.format is None:
        return None
    plain = {"few_shots", "stop"}
    return variant.format.model_dump(exclude=plain) == evaluation.format.model_dump(exclude=plain)


def _key(variant: Variant) -> Hashable:
    return repr(replace(variant, name=""))


def _labels(entries: Iterable[tuple[str, str, Hashable]]) -> Labels:
    """Name each (name, key): plainly when the name has one key in all points, else with the point's label."""
    points: defaultdict[str, dict[Hashable, str]] = defaultdict(dict)
    for label, name, key in entries:
        points[name].setdefault(key, label)
    return {
        (name, key): name if len(keys) == 1 else f"{name}@{label}"
        for name, keys in points.items()
        for key, label in keys.items()
    }


def _renamed(variant: Variant, labels: Labels, formats: Labels) -> Variant:
    name, train = labels[variant.name, _key(variant)], variant.train
    return replace(variant, name=name, train=train and _named_format(train, variant.format, formats))


def _named_format(settings: NamesFormat, fmt: Format | None, labels: Labels) -> NamesFormat:
    """Return settings with a name of their format that no other format of a sweep has."""
    return settings.model_copy(update={"format": labels[settings.format, repr(fmt)]})


def _short(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2]


def describe_cell(cell: Cell) -> dict[str, Any]:
    """Return what the comparison needs to know of a cell, as plain JSON: its factors and its baseline."""
    train = cell.variant.train
    return {
        "cell": cell.name,
        "variant": cell.variant.name,
        "evaluation": cell.evaluation.name,
        "task": cell.evaluation.task,
        "baseline": f"{cell.baseline.name}/{cell.evaluation.name}" if cell.baseline else None,
        "matched": cell.matched,
        "by": cell.by,
        "at_least": cell.evaluation.settings.at_least,
        **_price(cell.variant),
        **_imported(cell),
        **({"from_checkpoint": train.from_checkpoint} if train and train.from_checkpoint else {}),
        "seed": cell.variant.seed if train else None,
        "size": _size(train) if train else None,
        "others": _other_settings(cell),
        "templates": {
            "train_format": cell.variant.format.template if cell.variant.format else None,
            "eval_format": cell.evaluation.format.template,
        },
        "factors": {
            "model": cell.variant.model,
            "trained_on": _trained_on(cell.variant.task, train) if train else None,
            "method": train.method if train else None,
            "adaptation": train.adaptation if train else None,
            "loss": train.loss if train and train.head == "lm" and OF_METHOD.get(train.method) == "loss" else None,
            "train_format": train.format if train else None,
            "eval_format": cell.evaluation.settings.format,
        },
    }


def _imported(cell: Cell) -> dict[str, Any]:
    """Return the file that a cell's outputs are from, where they are from one."""
    files = cell.variant.imported
    return {"imported": files[plain_name(cell.evaluation.name)].file} if files else {}


def _price(variant: Variant) -> dict[str, Any]:
    """Return what tokens of a served model cost, where the study says it."""
    price = variant.served and variant.served.price
    return {"price": price.model_dump(mode="json")} if price else {}


def _trained_on(task: str, train: Train) -> str:
    """Return the task or tasks, with what a mixture declares: other shares of the same tasks are other data."""
    declared = train.mixture.model_dump(mode="json", exclude_defaults=True)
    if train.file is not None:
        return f"{task} from {train.file}"
    if JOINT not in task or not declared:
        return task
    weighed = [f"{name}:{weight:g}" for name, weight in declared.pop("weights", {}).items()]
    settings = [f"{key} {value}" for key, value in declared.items()]
    return f"{task} ({', '.join([*settings, *weighed])})"


def _size(train: Train) -> int | str:
    """Return the rank of a variant's adapter, or that all weights were trained."""
    return train.lora.rank if train.adapter else "full"


def _other_settings(cell: Cell) -> dict[str, Any]:
    """Return the settings that are no factor: to be equal where all else is said to be equal."""
    declared = {"format", "at_least", "expected", "by", "of"}
    asked = cell.evaluation.settings.model_dump(mode="json", exclude=declared)
    if cell.variant.train is None:
        return {"evaluation": asked}
    named = {"method", "adaptation", "lora", "qlora", "loss", "format", "model", "task", "mixture", "file"}
    named |= {"from_checkpoint", "published", "on_request"}
    named |= {"grpo", "dpo"} - {cell.variant.train.method}
    recipe = cell.variant.train.model_dump(mode="json", exclude=named)
    return {"evaluation": asked, "recipe": recipe}


def file_name(name: str) -> str:
    """Return what a variant, an evaluation or a format is called as a file."""
    return name.replace("/", "-")


def cell_folder(variant: str, evaluation: str) -> str:
    """Return what a cell's folder under ``eval`` is called."""
    return f"{file_name(variant)}_eval_{file_name(evaluation)}"
