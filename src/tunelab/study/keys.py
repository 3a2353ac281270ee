"""Errors about study files: file, key path, what was expected, and the nearest valid key."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import BaseModel, ValidationError

from tunelab.errors import StudyError, nearest


def check_keys(raw: Mapping[str, Any], model: type[BaseModel], where: str, path: str = "") -> None:
    """Raise StudyError for the first key that ``model`` does not know, however deep."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    for key, value in raw.items():
        here = f"{path}.{key}" if path else str(key)
        field = fields.get(str(key))
        if field is None:
            raise StudyError(f"{where}: unknown key {here!r}{nearest(str(key), fields)}")
        if isinstance(value, dict):
            _check_below(cast(dict[str, Any], value), field.annotation, where, here)


def _check_below(value: dict[str, Any], annotation: Any, where: str, path: str) -> None:
    if section := _section(annotation):
        check_keys(value, section, where, path)
    elif typing.get_origin(annotation) is dict and (section := _section(typing.get_args(annotation)[1])):
        for name, entry in value.items():
            if isinstance(entry, dict):
                check_keys(cast(dict[str, Any], entry), section, where, f"{path}.{name}")


def _section(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a mapping means where a field is one, or may be one or something else."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    if typing.get_origin(annotation) is Annotated:
        return _section(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return None
    return next((found for member in typing.get_args(annotation) if (found := _section(member))), None)


def describe_validation(error: ValidationError) -> str:
    """Return pydantic's first complaint as one line: key path, what it got and what is wrong."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"] if not _is_type_name(part))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"{path}: missing, expected a value; add it"
    if first["type"] == "value_error":
        return f"{path}: {message}" if path else message
    return f"{path}: got {first['input']!r}; {message[0].lower()}{message[1:]}"


def _is_type_name(part: Any) -> bool:
    """Pydantic puts the tried member of a union into the path: not a key of the file."""
    return isinstance(part, str) and (
        part in ("int", "float", "str") or part.startswith(("constrained-", "literal[", "tuple["))
    )
