"""Steps that are run again on demand: chosen by name, their folders moved to ``replaced/`` before the run.

What depends on them runs again by itself where their content then differs, and only there.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tunelab.engine.plan import Plan, Status
from tunelab.engine.step import Step
from tunelab.engine.store import Store
from tunelab.errors import StoreError, UserError, nearest


def forced(planned: Plan, globs: Iterable[str], store: Store) -> list[Step]:
    """Return the planned steps that have a folder and whose name a glob matches, with or without its hash.

    Raises UserError for a glob that matches no planned step, or one that cannot run here.
    """
    chosen: dict[str, Step] = {}
    for glob in globs:
        found = [p.step for p in planned.steps if any(fnmatch.fnmatchcase(name, glob) for name in _names(p.step))]
        if not found:
            known = {_names(p.step)[1] for p in planned.steps}
            raise UserError(f"force: {glob!r} matches no step of the study{nearest(glob, known)}")
        if unable := [step for step in found if step.blocked]:
            raise UserError(f"force: {unable[0].name} cannot run here: {unable[0].blocked}")
        chosen |= {step.fingerprint: step for step in found if store.directory(step).exists()}
    return list(chosen.values())


def with_forced(planned: Plan, steps: Sequence[Step]) -> Plan:
    """Return the plan in which ``steps`` are run again, though they may be finished."""
    chosen = {step.fingerprint for step in steps}
    changed = (
        replace(p, status=Status.TO_RUN, reason="forced") if p.step.fingerprint in chosen else p for p in planned.steps
    )
    return Plan(tuple(changed))


def set_aside(steps: Sequence[Step], store: Store) -> None:
    """Move the folders of all ``steps``, or of none while another process runs one of them (StoreError)."""
    for step in steps:
        if store.is_running(step):
            raise StoreError(
                f"force: {step.name} is being run by another process, expected it at rest; wait, or stop it"
            )
    for step in steps:
        store.set_aside(step)


def _names(step: Step) -> tuple[str, str]:
    """A step's name with and without its hash."""
    return step.name, step.name.rpartition("-")[0]
