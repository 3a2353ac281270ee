"""What became of each planned step: what its run has noted, and what its folder says now.

Other processes work on the same store, so a folder counts before a note: a lease that is held is a running step,
whoever holds it. A step without either is queued while its run goes on. Where the run was cut short, the one that it
was at is interrupted, the others were not run.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from tunelab.engine.record import Record, describe_owed
from tunelab.errors import StoreError
from tunelab.viewer.files import Outside, StoreFiles
from tunelab.viewer.runs import PlannedStep, Run


class StepState(StrEnum):
    """The states of a step, in the order in which they are counted."""

    RUNNING = "running"
    QUEUED = "queued"
    DONE = "done"
    CACHED = "cached"
    FAILED = "failed"
    BLOCKED = "blocked"
    INTERRUPTED = "interrupted"
    NOT_RUN = "not run"


FINISHED = (StepState.DONE, StepState.CACHED)


@dataclass(frozen=True)
class Seen:
    """A planned step as it is now; ``name`` differs from the planned one where inputs became holes."""

    step: PlannedStep
    name: str
    state: StepState
    message: str = ""
    record: Record | None = None
    progress: Mapping[str, Any] | None = None

    @property
    def label(self) -> str:
        """The step's name without kind and digits."""
        return self.step.name.partition("/")[2].rpartition("-")[0]


def look(run: Run, files: StoreFiles, runs: Iterable[Run]) -> list[Seen]:
    """Return every step of a run as it is now; ``runs`` are all of the store, since each may run any step."""
    progress = {identity(str(r.progress["as"])): r.progress for r in runs if r.alive and r.progress}
    seen: dict[str, Seen] = {}
    for step in run.steps:
        noted = run.states.get(step.name, {})
        name = noted.get("as") or _running_as(run, step)
        try:
            seen[step.name] = _look(run, step, name, noted, files, progress.get(identity(name)))
        except (StoreError, Outside) as error:
            seen[step.name] = Seen(step, name, StepState.FAILED, str(error))
    return list(seen.values())


def identity(name: str) -> tuple[str, str]:
    """Return what a step's name says of which step it is: its kind and digits. What it is called is for people."""
    return name.partition("/")[0], name.rpartition("-")[2]


def _running_as(run: Run, step: PlannedStep) -> str:
    return str(run.progress["as"]) if run.progress.get("step") == step.name else step.name


def _look(
    run: Run,
    step: PlannedStep,
    name: str,
    noted: Mapping[str, str],
    files: StoreFiles,
    progress: Mapping[str, Any] | None,
) -> Seen:
    record, noted_state = files.record(name), noted.get("state", "")
    if record is None and files.is_running(name):
        return Seen(step, name, StepState.RUNNING, progress=progress)
    if noted_state in (StepState.FAILED, StepState.BLOCKED):
        return Seen(step, name, StepState(noted_state), noted.get("message", ""))
    if record is not None:
        made = noted_state == StepState.DONE or (not noted_state and _seconds(record.finished) > _seconds(run.started))
        owed = describe_owed(record.owed) if record.owed else ""
        return Seen(step, name, StepState.DONE if made else StepState.CACHED, owed, record)
    if run.alive:
        return Seen(step, name, StepState.QUEUED)
    was_at = run.progress.get("step") == step.name
    return Seen(step, name, StepState.INTERRUPTED if was_at else StepState.NOT_RUN)


def counts(seen: Iterable[Seen]) -> dict[StepState, int]:
    """Return how many steps are in each state, every state present."""
    states = [s.state for s in seen]
    return {state: states.count(state) for state in StepState}


def elapsed(progress: Mapping[str, Any]) -> float:
    """Seconds since a running step began."""
    return max(0.0, time.time() - float(progress["started"]))


def seconds_left(progress: Mapping[str, Any]) -> float | None:
    """Seconds until a running step ends at its speed since its first sign of progress; None while that is not known."""
    if "first" not in progress:
        return None
    since, first = progress["first"]
    took, made = float(progress["time"]) - since, progress["done"] - first
    if made <= 0 or took <= 0:
        return None
    passed = max(0.0, time.time() - float(progress["time"]))
    return max(0.0, (progress["total"] - progress["done"]) * took / made - passed)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
