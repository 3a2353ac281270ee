"""Overrides from the command line: ``key=value`` on the plain data of a study.

``recipe.lr=1e-4`` sets a field, ``train.sft_*.lr=1e-4`` sets it in every entry that the glob matches, and
``train=sft_*`` or ``evaluate=chat`` keeps only the named entries. ``evaluate.gsm8k.rows=9`` sets it in every entry
whose name begins with ``gsm8k_`` where none is called ``gsm8k``. Values are read as YAML.
``generation.batch_size`` is another word for ``hardware.generation_batch_size``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import yaml

from tunelab.errors import StudyError
from tunelab.study import yaml_text
from tunelab.study.places import seen_from
from tunelab.study.selection import SECTIONS, family, keep, matching

ELSEWHERE = {"generation.batch_size": "hardware.generation_batch_size"}
"""Keys that a field of another name answers."""
Raw = dict[str, Any]


def apply_override(raw: Raw, override: str, folder: Path) -> Raw:
    """Return a copy of ``raw`` with one override applied; ``folder`` is the study's. Raises StudyError."""
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise StudyError(f"override: got {override!r}, expected key=value, like recipe.lr=1e-4")
    key = ELSEWHERE.get(key, key)
    if key in SECTIONS and not text.lstrip().startswith("{"):
        return keep(raw, key, text)
    try:
        value = yaml_text.parse(text)
    except yaml.YAMLError:
        raise StudyError(f"override {key}: got {text!r}, expected a YAML value; quote it if it is a string") from None
    return set_field(raw, key, seen_from(folder, key, value))


def set_field(raw: Raw, key: str, value: Any) -> Raw:
    """Return a copy of ``raw`` with ``value`` at a dotted ``key``; a text for a section selects among its entries."""
    if key in SECTIONS and isinstance(value, str):
        return keep(raw, key, value)
    path = key.split(".")
    if path[0] in SECTIONS and len(path) > 2 and _is_family(raw.get(path[0]), path[1]):
        path[1] += "_*"
    return cast(Raw, _set(raw, path, value, key))


def _is_family(entries: Any, name: str) -> bool:
    """Say whether a name is no entry but the stem of some."""
    return isinstance(entries, dict) and name not in entries and bool(family(list(cast(Raw, entries)), name))


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
        names = matching(list(entries), segment, f"override {key}")
    for name in names:
        entries[name] = _set(entries.get(name), rest, value, key)
    return entries
