"""What entries share: ``recipe`` for ``train``, ``evaluation`` for ``evaluate``. An entry's own word counts.

So a shared setting that every entry sets itself decides nothing. In a file that is idle talk. From the command line or
a sweep somebody expects something of it, and a run that is no other than before would look like an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from tunelab.errors import StudyError

SHARED = {"train": "recipe", "evaluate": "evaluation"}
NAMED = 5
"""Entries that an error names."""
Raw = dict[str, Any]


def deep_merge(base: Raw, over: Raw) -> Raw:
    """Lay ``over`` on ``base``, key by key in mappings that both have."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(merged.get(key), dict) and isinstance(value, dict)
        merged[key] = deep_merge(merged[key], value) if both else value
    return merged


def refuse_idle(raw: Raw, key: str, what: str) -> None:
    """Raise StudyError when a dotted ``key`` is a shared setting and without it every entry would be the same.

    ``what`` begins the message. Entries that are left out until they are asked for by name do not count.
    """
    section = next((name for name, shared in SHARED.items() if key.startswith(f"{shared}.")), None)
    common: Any = raw.get(SHARED[section]) if section else None
    entries: Any = raw.get(section) if section else None
    if not isinstance(common, dict) or not isinstance(entries, dict):
        return
    shared, field = cast(Raw, common), key.partition(".")[2]
    own = {name: cast(Raw, entry or {}) for name, entry in cast(Raw, entries).items() if isinstance(entry, dict | None)}
    asked = {name: entry for name, entry in own.items() if deep_merge(shared, entry).get("on_request") is not True}
    less = _without(shared, field.split("."))
    if asked and less != shared and all(deep_merge(shared, it) == deep_merge(less, it) for it in asked.values()):
        raise StudyError(
            f"{what}: changes nothing, since every entry of {section} sets {field} itself ({_some(list(asked))}); "
            f"write {section}.{next(iter(asked))}.{field}, or {section}.*.{field} for all"
        )


def _without(node: Raw, path: Sequence[str]) -> Raw:
    """Return a mapping without what is at a path."""
    first, *rest = path
    if not rest or not isinstance(node.get(first), dict):
        return {name: value for name, value in node.items() if rest or name != first}
    return {**node, first: _without(node[first], rest)}


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"
