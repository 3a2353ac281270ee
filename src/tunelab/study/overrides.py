"""Overrides from the command line: ``key=value`` on the plain data of a study.

``recipe.lr=1e-4`` sets a field, ``train.sft_*.lr=1e-4`` sets it in every entry that the glob matches, and
``train=sft_*`` or ``evaluate=chat`` keeps only the named entries. Values are read as YAML.
"""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Any, cast

import yaml

from tunelab.errors import StudyError, nearest
from tunelab.study import yaml_text
from tunelab.study.places import seen_from

SELECTABLE = ("train", "evaluate")
Raw = dict[str, Any]


def apply_override(raw: Raw, override: str, folder: Path) -> Raw:
    """Return a copy of ``raw`` with one override applied; ``folder`` is the study's. Raises StudyError."""
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise StudyError(f"override: got {override!r}, expected key=value, like recipe.lr=1e-4")
    if key in SELECTABLE and not text.lstrip().startswith("{"):
        return _select(raw, key, text)
    try:
        value = yaml_text.parse(text)
    except yaml.YAMLError:
        raise StudyError(f"override {key}: got {text!r}, expected a YAML value; quote it if it is a string") from None
    return set_field(raw, key, seen_from(folder, key, value))


def set_field(raw: Raw, key: str, value: Any) -> Raw:
    """Return a copy of ``raw`` with ``value`` at a dotted ``key``; a text for a section selects among its entries."""
    if key in SELECTABLE and isinstance(value, str):
        return _select(raw, key, value)
    return cast(Raw, _set(raw, key.split("."), value, key))


def _select(raw: Raw, section: str, patterns: str) -> Raw:
    entries = raw.get(section) or {}
    kept = {name: entries[name] for name in _matching(list(entries), patterns, section)}
    dropped = set(entries) - set(kept)
    return {**raw, section: kept, **_baselines_without(raw, dropped, section)}


def _baselines_without(raw: Raw, dropped: set[str], section: str) -> Raw:
    """Ask nothing of a variant or an evaluation that a selection leaves out."""
    asked = raw.get("baselines")
    if not isinstance(asked, dict) or not all(isinstance(below, dict) for below in asked.values()):
        return {}
    rest = {v: below for v, below in cast(Raw, asked).items() if section != "train" or v not in dropped}
    if section == "evaluate":
        rest = {v: {e: minimum for e, minimum in below.items() if e not in dropped} for v, below in rest.items()}
    return {"baselines": rest}


def _matching(names: list[str], patterns: str, what: str) -> list[str]:
    chosen: set[str] = set()
    for pattern in patterns.split(","):
        found = fnmatch.filter(names, pattern.strip())
        if not found:
            raise StudyError(f"{what}: {pattern!r} matches no entry{nearest(pattern, names)}")
        chosen.update(found)
    return [name for name in names if name in chosen]


def _set(node: Any, path: list[str], value: Any, key: str) -> Any:
    """Return ``node`` with ``value`` at ``path``; a segment with a glob addresses every key that it matches."""
    if not path:
        return value
    if not isinstance(node, dict | None):
        raise StudyError(f"override {key}: {path[0]!r} lies below a value that is not a mapping")
    entries: Raw = dict(node or {})
    segment, *rest = path
    names = [segment]
    if any(c in segment for c in "*?["):
        names = _matching(list(entries), segment, f"override {key}")
    for name in names:
        entries[name] = _set(entries.get(name), rest, value, key)
    return entries
