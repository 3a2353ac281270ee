"""Which entries of a study are run: those on request, selections (``train=sft_*``) and ``--skip``.

All act on the plain data, before it is validated. A variant that is left out is still known by name, so that
``evaluate.NAME.of`` and ``baselines`` may go on naming it; an evaluation of nothing but such variants is left out too.
An evaluation that is left out is as if it were not in the file: ``baselines`` and ``contrasts`` no longer ask for it.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from pydantic import ValidationError

from tunelab.errors import StudyError, nearest
from tunelab.study.entries import Train
from tunelab.study.keys import describe_validation

SECTIONS = ("train", "evaluate")
Raw = dict[str, Any]


def matching(names: Sequence[str], patterns: str, what: str) -> list[str]:
    """Return the names that globs, parted by commas, match. Raises StudyError for a glob without a match.

    A name that is none of them means its family: ``gsm8k`` means ``gsm8k_simple`` and ``gsm8k_strong``.
    """
    chosen: set[str] = set()
    for pattern in patterns.split(","):
        found = fnmatch.filter(names, pattern.strip()) or family(names, pattern.strip())
        if not found:
            raise StudyError(f"{what}: {pattern!r} matches no entry{nearest(pattern, names)}")
        chosen.update(found)
    return [name for name in names if name in chosen]


def family(names: Sequence[str], stem: str) -> list[str]:
    """Return the names that begin with a stem and an underscore, as those that a matrix makes do."""
    return [name for name in names if stem and name.startswith(f"{stem}_")]


def keep(raw: Raw, section: str, patterns: str) -> Raw:
    """Keep only the entries that globs match; what is selected by name is no longer on request."""
    entries: Raw = dict(raw.get(section) or {})
    chosen = matching(list(entries), patterns, section)
    if section == "train":
        entries |= {name: _requested(entries[name]) for name in chosen}
    return _without(raw | {section: entries}, section, [name for name in entries if name not in chosen])


def skip(raw: Raw, what: str) -> Raw:
    """Leave out the entries that ``train.NAME`` or ``evaluate.NAME`` means; NAME may be a glob. Raises StudyError."""
    section, _, pattern = what.partition(".")
    if section not in SECTIONS or not pattern:
        known = [f"{part}.{name}" for part in SECTIONS for name in raw.get(part) or {}]
        raise StudyError(f"skip: got {what!r}, expected train.NAME or evaluate.NAME{nearest(what, known)}")
    entries: Raw = raw.get(section) or {}
    gone = matching(list(entries), pattern, f"skip {section}")
    if section == "evaluate" and len(gone) == len(entries):
        raise StudyError(f"skip: {what!r} leaves no evaluation, expected at least one; skip fewer")
    return _without(raw, section, gone)


def settled(raw: Any) -> Any:
    """Return a study's data without variants on request, and without evaluations of nothing but what is left out.

    Raises ValueError when no evaluation is left.
    """
    if not isinstance(raw, Mapping):
        return raw
    data = dict(cast(Mapping[str, Any], raw))
    asked = [name for name, entry in _entries(data, "train").items() if _said(entry, "on_request") is True]
    for name in asked:
        _check(name, data["train"][name])
    data = _without(data, "train", asked)
    unselected = data.get("unselected") or ()
    evaluations = {name: _said(entry, "of") for name, entry in _entries(data, "evaluate").items()}
    gone = [name for name, of in evaluations.items() if isinstance(of, list | tuple) and of and _all(of, unselected)]
    if gone and len(gone) == len(evaluations):
        named = ", ".join(dict.fromkeys(variant for name in gone for variant in evaluations[name]))
        raise ValueError(f"evaluate: every evaluation is of variants that are left out ({named}); select one of them")
    return _without(data, "evaluate", gone)


def _requested(entry: Any) -> Any:
    return {**cast(Raw, entry), "on_request": False} if isinstance(entry, Mapping) else entry


def _without(raw: Raw, section: str, gone: Sequence[str]) -> Raw:
    if not gone:
        return raw
    left = raw | {section: {name: entry for name, entry in raw[section].items() if name not in gone}}
    if section == "train":
        return left | {"unselected": [*(raw.get("unselected") or ()), *gone]}
    asked = {"baselines": _baselines, "contrasts": _contrasts, "outputs": _baselines}
    return left | {key: without(raw[key], gone) for key, without in asked.items() if key in raw}


def _baselines(declared: Any, gone: Collection[str]) -> Any:
    """Return the thresholds without those of evaluations that are left out; what is no mapping is refused later."""
    if not isinstance(declared, Mapping):
        return declared
    return {
        variant: {e: least for e, least in cast(Raw, named).items() if e not in gone}
        if isinstance(named, Mapping)
        else named
        for variant, named in cast(Raw, declared).items()
    }


def _contrasts(declared: Any, gone: Collection[str]) -> Any:
    """Return the contrasts without those of an evaluation that is left out; what is no list is refused later."""
    if not isinstance(declared, list | tuple):
        return declared
    return [pair for pair in cast(Sequence[Any], declared) if not any(e in gone for e in _evaluations(pair))]


def _evaluations(pair: Any) -> list[str]:
    sides = cast(Sequence[Any], pair) if isinstance(pair, list | tuple) else ()
    return [str(side).rpartition("/")[2] for side in sides]


def _entries(raw: Raw, section: str) -> Mapping[str, Any]:
    entries = raw.get(section)
    return cast(Mapping[str, Any], entries) if isinstance(entries, Mapping) else {}


def _said(entry: Any, field: str) -> Any:
    """Return what an entry, plain or already an object, says of a field."""
    return cast(Raw, entry).get(field) if isinstance(entry, Mapping) else getattr(entry, field, None)


def _all(of: Sequence[Any], unselected: Collection[str]) -> bool:
    return all(name in unselected for name in of)


def _check(name: str, entry: Any) -> None:
    """Raise ValueError for a mistake in an entry that nobody else will look at."""
    try:
        Train.model_validate(entry)
    except ValidationError as error:
        raise ValueError(f"train.{name}.{describe_validation(error)}") from None
