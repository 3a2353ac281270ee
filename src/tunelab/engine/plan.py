"""The plan: every step once, in an order in which inputs come first, with what the store already holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from tunelab.engine.record import describe_owed
from tunelab.engine.step import Step
from tunelab.engine.store import Store


class Status(Enum):
    """What a run would do with a step."""

    CACHED = "cached"
    TO_RUN = "to_run"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class Planned:
    """A step, over holes where its inputs are blocked, and what a run would do with it."""

    step: Step
    status: Status
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """Steps in topological order, each fingerprint once."""

    steps: tuple[Planned, ...]

    def counts(self) -> dict[str, int]:
        """Number of steps per status, every status present."""
        return {s.value: sum(p.status is s for p in self.steps) for s in Status}


def plan(targets: Iterable[Step], store: Store) -> Plan:
    """Order what ``targets`` need, drop duplicates by fingerprint and look up the store."""
    planned: list[Planned] = []
    became: dict[str, Step] = {}
    reasons: dict[str, str] = {}
    for step in topological(targets):
        planned.append(_status(step, became, reasons, store))
        if planned[-1].status is Status.BLOCKED:
            reasons[step.fingerprint] = planned[-1].reason
        else:
            became[step.fingerprint] = planned[-1].step
    return Plan(tuple(planned))


def settled(targets: Iterable[Step], store: Store) -> tuple[dict[str, Step], dict[str, str]]:
    """Return, by fingerprint, the steps that ``store`` holds, and why each of the others has no result.

    The reasons are those that the last run gave, so that what was made over these holes is found again.
    """
    held: dict[str, Step] = {}
    reasons: dict[str, str] = {}
    for step in topological(targets):
        if lacking := step.lacking(held):
            reasons[step.fingerprint] = f"needs {lacking.name}"
        elif store.find(actual := step.over(held, reasons)) is not None:
            held[step.fingerprint] = actual
        else:
            reasons[step.fingerprint] = step.blocked or store.failure(step)
    return held, reasons


def topological(targets: Iterable[Step]) -> list[Step]:
    """Return ``targets`` and all they depend on, dependencies first, one step a fingerprint."""
    ordered: dict[str, Step] = {}

    def visit(step: Step) -> None:
        if step.fingerprint in ordered:
            return
        for needed in step.needs:
            visit(needed)
        ordered[step.fingerprint] = step

    for target in targets:
        visit(target)
    return list(ordered.values())


def _status(step: Step, became: dict[str, Step], reasons: dict[str, str], store: Store) -> Planned:
    if lacking := step.lacking(became):
        return Planned(step, Status.BLOCKED, f"needs {lacking.name}")
    actual = step.over(became, reasons)
    if found := store.find(actual):
        if found.record.owed and step.blocked is None:
            return Planned(actual, Status.TO_RUN, describe_owed(found.record.owed))
        return Planned(actual, Status.CACHED)
    if step.blocked is not None:
        return Planned(actual, Status.BLOCKED, step.blocked)
    outdated = store.outdated(actual)
    return Planned(actual, Status.TO_RUN, f"{', '.join(outdated)} has changed since" if outdated else "")
