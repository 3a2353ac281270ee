"""Reading a study: bundled name or file, overrides, shared sections, matrices, and errors that help.

The file becomes plain data, overrides and selections act on the data, and only then is it validated: so an
override can reach every field and a mistake in it is reported like one in the file.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError

from tunelab.errors import StudyError, nearest
from tunelab.study import yaml_text
from tunelab.study.entries import Evaluate, Train
from tunelab.study.keys import check_keys, describe_validation
from tunelab.study.overrides import apply_override, set_field
from tunelab.study.selection import skip
from tunelab.study.shared import SHARED, deep_merge, refuse_idle
from tunelab.study.spec import Study

Raw = dict[str, Any]


@dataclass(frozen=True)
class StudyFile:
    """Plain data of a study, where it came from, and the folder that relative paths start from."""

    raw: Raw
    where: str
    folder: Path


def bundled() -> dict[str, Path]:
    """Map the names of the bundled studies to their files."""
    folder = Path(str(resources.files("tunelab"))) / "studies"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_file(name: str, above: Sequence[str] = ()) -> StudyFile:
    """Read a bundled study by name or a study file by path, with what it includes. Raises StudyError.

    ``above`` names the files that include it.
    """
    path = bundled().get(name) or Path(name)
    if not path.is_file():
        raise StudyError(f"study: got {name!r}, expected a YAML file or a bundled study{nearest(name, bundled())}")
    raw = _parse(path)
    if not isinstance(raw, dict):
        raise StudyError(f"{path}: got {type(raw).__name__}, expected a mapping with the keys of a study")
    where, here = (name, Path.cwd()) if name in bundled() else (str(path), path.parent)
    return StudyFile(_with_included(cast(Raw, raw), where, here, above), where, here)


def _with_included(raw: Raw, where: str, folder: Path, above: Sequence[str]) -> Raw:
    """Lay a study over those that it includes, key by key: bundled ones by name, others beside the file."""
    included, own = raw.get("include", []), {k: v for k, v in raw.items() if k != "include"}
    if not isinstance(included, list) or not all(isinstance(name, str) for name in cast(list[Any], included)):
        raise StudyError(f"{where}: include: got {included!r}, expected a list of studies")
    merged: Raw = {}
    for name in cast(list[str], included):
        if name not in bundled() and (Path(name).name != name or not (folder / name).is_file()):
            expected = f"expected a bundled study or a file in the same folder{nearest(name, bundled())}"
            raise StudyError(f"{where}: include: got {name!r}, {expected}")
        file = name if name in bundled() else str(folder / name)
        if file in (*above, where):
            raise StudyError(f"{where}: include: {name} includes itself; remove one of the two")
        below = read_file(file, (*above, where))
        merged = deep_merge(merged, _all_expanded(below.raw, below.where))
    return deep_merge(merged, own)


def _parse(path: Path) -> Any:
    """Read YAML, or JSON where the name says so: YAML 1.1 takes JSON's ``1e-05`` for a text."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return json.loads(text, object_pairs_hook=_without_repeats)
        return yaml_text.parse(text)
    except yaml.YAMLError as error:
        raise StudyError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except UnicodeDecodeError:
        raise StudyError(f"{path}: is not UTF-8; convert the file to UTF-8") from None
    except ValueError as error:
        raise StudyError(f"{path}: not valid JSON: {error}") from None


def read_study(name: str, overrides: Sequence[str] = (), skipped: Sequence[str] = ()) -> list[tuple[str, Study]]:
    """Return the study's points: (label, study), one per combination of ``sweep``; without one, a single point.

    ``skipped`` names entries to leave out: ``evaluate.NAME``, ``train.GLOB``.
    """
    file = read_file(name)
    raw = _all_expanded(file.raw, file.where)
    for override in overrides:
        raw = apply_override(without_axis(raw, override.partition("=")[0]), override, file.folder)
    for entry in skipped:
        raw = skip(raw, entry)
    for key in (override.partition("=")[0] for override in overrides):
        refuse_idle(raw, key, f"override {key}")
    return [(label, validate(point, file.where)) for label, point in points(raw, file.where)]


def without_axis(raw: Raw, key: str) -> Raw:
    """Return a study without the axis of its sweep that an override sets: what is typed counts."""
    axes = raw.get("sweep")
    if not isinstance(axes, dict) or key not in axes:
        return raw
    return raw | {"sweep": {name: values for name, values in cast(Raw, axes).items() if name != key}}


def points(raw: Raw, where: str) -> list[tuple[str, Raw]]:
    """Expand ``sweep`` into labelled studies without one."""
    axes = raw.get("sweep") or {}
    if not isinstance(axes, Mapping) or not all(isinstance(v, list) and v for v in axes.values()):
        raise StudyError(
            f"{where}: sweep: expected a mapping of field to a list of values, like {{recipe.lr: [1e-5, 1e-4]}}"
        )
    for key, values in axes.items():
        refuse_idle(set_field(raw, str(key), values[0]), str(key), f"{where}: sweep: {key}")
    expanded: list[tuple[str, Raw]] = []
    for values in itertools.product(*axes.values()):
        point = {k: v for k, v in raw.items() if k != "sweep"}
        for key, value in zip(axes, values, strict=True):
            point = set_field(point, str(key), value)
        label = ",".join(f"{key.rpartition('.')[2]}={_written(value)}" for key, value in zip(axes, values, strict=True))
        expanded.append((label, point))
    return expanded


def _written(value: Any) -> str:
    """Write a value of a sweep as its file does: null and true, not None and True."""
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def validate(raw: Raw, where: str) -> Study:
    """Merge shared sections, expand matrices and validate. Raises StudyError naming file and key path."""
    by_smoke = ("stand_ins",) if where.endswith(".json") else ("smoke", "stand_ins")  # its configurations say smoke
    if name := next((key for key in by_smoke if key in raw), None):
        raise StudyError(f"{where}: {name}: got {raw[name]!r}, expected it nowhere in a study; use --smoke")
    merged = dict(raw)
    for section, shared in SHARED.items():
        merged[section] = _entries(raw, section, shared, where)
    for section, model in (("recipe", Train), ("evaluation", Evaluate)):
        check_keys(raw.get(section) or {}, model, where, section)
    check_keys(merged, Study, where)
    try:
        return Study.model_validate(merged)
    except ValidationError as error:
        raise StudyError(f"{where}: {describe_validation(error)}") from None


def _entries(raw: Raw, section: str, shared: str, where: str) -> Raw:
    """Give every entry of a section the shared settings, and multiply entries that have a ``matrix``."""
    common = raw.get(shared) or {}
    if not isinstance(common, dict):
        raise StudyError(f"{where}: {shared}: got {common!r}, expected a mapping of settings")
    return {name: deep_merge(common, entry) for name, entry in _expanded(raw, section, where).items()}


def _all_expanded(raw: Raw, where: str) -> Raw:
    """Multiply the entries of every section, so that overrides and other studies meet them by name."""
    return raw | {section: _expanded(raw, section, where) for section in SHARED if section in raw}


def _expanded(raw: Raw, section: str, where: str) -> Raw:
    """Multiply the entries of a section that have a ``matrix``."""
    entries = raw.get(section) or {}
    if not isinstance(entries, dict):
        raise StudyError(f"{where}: {section}: got {entries!r}, expected a mapping of entries by name")
    found: Raw = {}
    for name, entry in cast(Raw, entries).items():
        if not isinstance(entry, dict | None):
            raise StudyError(f"{where}: {section}.{name}: got {entry!r}, expected a mapping of settings")
        for expanded, settings in _matrix(str(name), entry or {}, f"{where}: {section}"):
            if expanded in found:
                raise StudyError(f"{where}: {section}.{expanded}: named twice; put every matrix field into the name")
            found[expanded] = settings
    return found


def _matrix(name: str, entry: Raw, where: str) -> list[tuple[str, Raw]]:
    """Expand ``{matrix: {field: [values]}}`` or ``{matrix: {axis: {label: settings}}}``; the name has every axis."""
    axes = entry.get("matrix")
    if axes is None:
        return [(name, entry)]
    if not isinstance(axes, dict):
        raise StudyError(f"{where}.{name}.matrix: got {axes!r}, expected a mapping of field to its values")
    rest = {k: v for k, v in entry.items() if k != "matrix"}
    expanded: list[tuple[str, Raw]] = []
    for levels in itertools.product(*(_levels(axis, v, f"{where}.{name}") for axis, v in cast(Raw, axes).items())):
        settings = rest
        for _, chosen in levels:
            settings = deep_merge(settings, chosen)
        labels = {axis: label for axis, (label, _) in zip(cast(Raw, axes), levels, strict=True)}
        try:
            expanded.append((name.format(**labels), settings))
        except (KeyError, IndexError) as error:
            raise StudyError(f"{where}.{name}: the name asks for {error}, expected a field of its matrix") from None
    return expanded


def _levels(axis: str, values: Any, where: str) -> list[tuple[Any, Raw]]:
    """Return an axis's levels: values of the field of that name, or named groups of settings."""
    if isinstance(values, list):
        return [(value, {axis: value}) for value in cast(list[Any], values)]
    if isinstance(values, dict) and all(isinstance(v, dict) for v in cast(Raw, values).values()):
        return list(cast(Raw, values).items())
    raise StudyError(f"{where}.matrix.{axis}: got {values!r}, expected a list of values, or settings by label")


def _without_repeats(pairs: list[tuple[str, Any]]) -> Raw:
    """Make a mapping of JSON's pairs. Raises ValueError for a key that is written twice."""
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"the key {key!r} is written twice")
    return dict(pairs)
