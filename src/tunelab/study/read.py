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
from tunelab.study.keys import check_keys, describe_validation
from tunelab.study.overrides import apply_override, set_field
from tunelab.study.spec import Evaluate, Study, Train

SHARED = {"train": "recipe", "evaluate": "evaluation"}
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


def read_file(name: str) -> StudyFile:
    """Read a bundled study by name or a study file by path. Raises StudyError."""
    path = bundled().get(name) or Path(name)
    if not path.is_file():
        raise StudyError(f"study: got {name!r}, expected a YAML file or a bundled study{nearest(name, bundled())}")
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.YAMLError as error:
        raise StudyError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except UnicodeDecodeError:
        raise StudyError(f"{path}: is not UTF-8; convert the file to UTF-8") from None
    if not isinstance(raw, dict):
        raise StudyError(f"{path}: got {type(raw).__name__}, expected a mapping with the keys of a study")
    here = Path.cwd() if name in bundled() else path.parent
    return StudyFile(cast(Raw, raw), str(path if name not in bundled() else name), here)


def read_study(name: str, overrides: Sequence[str] = ()) -> list[tuple[str, Study]]:
    """Return the study's points: (label, study), one per combination of ``sweep``; without one, a single point."""
    file = read_file(name)
    raw = file.raw
    for override in overrides:
        raw = apply_override(raw, override, file.folder)
    return [(label, validate(point, file.where)) for label, point in points(raw, file.where)]


def points(raw: Raw, where: str) -> list[tuple[str, Raw]]:
    """Expand ``sweep`` into labelled studies without one."""
    axes = raw.get("sweep") or {}
    if not isinstance(axes, Mapping) or not all(isinstance(v, list) and v for v in axes.values()):
        raise StudyError(
            f"{where}: sweep: expected a mapping of field to a list of values, like {{recipe.lr: [1e-5, 1e-4]}}"
        )
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
    if "smoke" in raw:
        raise StudyError(f"{where}: smoke: got {raw['smoke']!r}, expected it nowhere in a study; use --smoke")
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
    common, entries = raw.get(shared) or {}, raw.get(section) or {}
    if not isinstance(common, dict) or not isinstance(entries, dict):
        raise StudyError(f"{where}: {section} and {shared}: expected mappings")
    merged: Raw = {}
    for name, entry in entries.items():
        if not isinstance(entry, dict | None):
            raise StudyError(f"{where}: {section}.{name}: got {entry!r}, expected a mapping of settings")
        for expanded, settings in _matrix(str(name), entry or {}, f"{where}: {section}"):
            if expanded in merged:
                raise StudyError(f"{where}: {section}.{expanded}: named twice; put every matrix field into the name")
            merged[expanded] = _deep_merge(common, settings)
    return merged


def _matrix(name: str, entry: Raw, where: str) -> list[tuple[str, Raw]]:
    """Expand ``{matrix: {field: [values]}}``; the name has a {field} for each."""
    axes = entry.get("matrix")
    if axes is None:
        return [(name, entry)]
    if not isinstance(axes, dict) or not all(isinstance(v, list) for v in axes.values()):
        raise StudyError(f"{where}.{name}.matrix: expected a mapping of field to a list of values")
    rest = {k: v for k, v in entry.items() if k != "matrix"}
    expanded: list[tuple[str, Raw]] = []
    for values in itertools.product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        try:
            expanded.append((name.format(**chosen), rest | chosen))
        except (KeyError, IndexError) as error:
            raise StudyError(f"{where}.{name}: the name asks for {error}, expected a field of its matrix") from None
    return expanded


def _deep_merge(base: Raw, over: Raw) -> Raw:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(merged.get(key), dict) and isinstance(value, dict)
        merged[key] = _deep_merge(merged[key], value) if both else value
    return merged


class _Loader(yaml.SafeLoader):
    """Refuses a key that is written twice: YAML would silently keep the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        written = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        keys = [self.construct_object(key, deep=deep) for key in written]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is written twice", node.start_mark
                )
        return super().construct_mapping(node, deep)
