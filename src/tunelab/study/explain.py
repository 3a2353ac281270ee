"""Why two steps differ, and why a step would run again, field by field.

An input that differs is followed to the step that makes it, so that the answer names the setting that was
changed and not only a hash that changed because of it.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from tunelab.engine.folder import RECORD, STEP
from tunelab.engine.plan import Plan, Status
from tunelab.engine.store import Store
from tunelab.errors import StoreError, StudyError, nearest


@dataclass(frozen=True)
class Known:
    """A step by name: its identity, and whether it is planned and finished."""

    name: str
    fingerprint: str
    identity: Mapping[str, Any]
    planned: bool
    finished: bool
    reason: str = ""
    """Why a planned step that has a record would run again."""


@dataclass(frozen=True)
class Difference:
    """One field, dotted, and its two values; None where a side does not have it."""

    field: str
    first: Any
    second: Any


@dataclass(frozen=True)
class Explained:
    """A sentence and the fields behind it."""

    headline: str
    differences: list[Difference]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


def known_steps(store: Store, planned: Plan | None) -> dict[str, Known]:
    """Return the store's steps, and the planned ones of a study, by fingerprint."""
    known: dict[str, Known] = {}
    for name, identity in _identities(store):
        finished = (store.root / name / RECORD).exists()
        plain = {k: v for k, v in identity.items() if k != "fingerprint"}
        known[identity["fingerprint"]] = Known(name, identity["fingerprint"], plain, False, finished)
    for p in planned.steps if planned else ():
        finished = p.status is Status.CACHED
        known[p.step.fingerprint] = Known(p.step.name, p.step.fingerprint, p.step.identity, True, finished, p.reason)
    return known


def _identities(store: Store) -> Iterator[tuple[str, dict[str, Any]]]:
    """The store's identities, each with a fingerprint. Raises StoreError."""
    try:
        for name, identity in store.identities():
            found: Any = identity
            if not isinstance(found, dict) or not isinstance(found.get("fingerprint"), str):
                raise StoreError(f"{store.root / name / STEP}: no step's identity; remove {store.root / name}")
            yield name, identity
    except ValueError as error:
        raise StoreError(f"{store.root}: a {STEP} is not JSON ({error}); remove its folder") from None


def explain_pair(known: Mapping[str, Known], first: str, second: str) -> Explained:
    """Compare two steps by name. Raises StudyError when a name fits none or several."""
    a, b = find(known, first), find(known, second)
    if a.fingerprint == b.fingerprint:
        return Explained(f"{a.name} and {b.name} are the same step", [])
    return Explained(f"{a.name} → {b.name}", differences(known, a, b))


def explain_step(known: Mapping[str, Known], name: str) -> Explained:
    """Say whether a step would run again, and what sets it apart from the most similar finished step."""
    step = find(known, name)
    state = "is finished and would not run again" if step.finished else "is not finished and would run"
    state += f" ({step.reason})" if step.reason else ""
    kind = step.name.partition("/")[0]
    others = [k for k in known.values() if k.name.startswith(f"{kind}/") and k.fingerprint != step.fingerprint]
    others = [k for k in others if k.finished]
    if not others:
        return Explained(f"{step.name} {state}; there is no finished {kind} step to compare it with", [])
    slug = step.name.rpartition("-")[0]
    nearest_step = min(
        others, key=lambda k: (not k.name.startswith(f"{slug}-"), len(differences(known, k, step)), k.name)
    )
    headline = f"{step.name} {state}; compared with the most similar finished step, {nearest_step.name}:"
    return Explained(headline, differences(known, nearest_step, step))


def find(known: Mapping[str, Known], name: str) -> Known:
    """Return the step of that name, with or without its hash; planned steps are preferred."""
    matching = [k for k in known.values() if fnmatch.fnmatch(k.name, name) or k.name.rpartition("-")[0] == name]
    matching = [k for k in matching if k.planned] or matching
    if not matching:
        raise StudyError(f"step: got {name!r}, expected kind/slug{nearest(name, (k.name for k in known.values()))}")
    if len(matching) > 1:
        raise StudyError(f"step: {name!r} fits {', '.join(sorted(k.name for k in matching))}; add the hash")
    return matching[0]


def differences(known: Mapping[str, Known], first: Known, second: Known) -> list[Difference]:
    """Return the fields in which two steps differ, following inputs to their own fields."""
    a, b = flat_fields(first.identity), flat_fields(second.identity)
    found: list[Difference] = []
    for field in sorted(set(a) | set(b)):
        one, two = a.get(field), b.get(field)
        if one == two and (field in a) == (field in b):
            continue
        below = _below(known, field, one, two)
        found += below or [Difference(field, one, two)]
    return found


def _below(known: Mapping[str, Known], field: str, one: Any, two: Any) -> list[Difference]:
    """Differences of two inputs, under the input's name; none when either step is not known."""
    if not field.startswith("inputs.") or not isinstance(one, str) or not isinstance(two, str):
        return []
    if one not in known or two not in known:
        return []
    prefix = field.removeprefix("inputs.")
    return [Difference(f"{prefix}.{d.field}", d.first, d.second) for d in differences(known, known[one], known[two])]


def flat_fields(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one mapping with dotted names."""
    flat: dict[str, Any] = {}
    for key, entry in value.items():
        if isinstance(entry, dict) and entry:
            flat |= flat_fields(cast(dict[str, Any], entry), f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = entry
    return flat
