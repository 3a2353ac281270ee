"""The runner: takes ready steps one after the other until none is left, here or in another process.

A step that fails blocks what depends on it and nothing else. The error is kept in the step's folder as
``failed.json``; the next run tries again. Several runners may share a store: each claims a step before it runs
it, passes over steps that others run, and waits for them only when nothing else is left to do.
"""

from __future__ import annotations

import errno
import shutil
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Protocol

from tunelab.engine.attempt import Attempt
from tunelab.engine.context import StepContext
from tunelab.engine.lease import Lease
from tunelab.engine.plan import topological
from tunelab.engine.record import Artifact
from tunelab.engine.step import Step
from tunelab.engine.store import FAILED, SCRATCH, Store, read_json
from tunelab.errors import LeaseLost, TunelabError
from tunelab.files import write_json

POLL_SECONDS = 0.2


class State(Enum):
    """How a step ended in this run."""

    CACHED = "cached"
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"


FINISHED = (State.CACHED, State.DONE)


class Reporter(Protocol):
    """Sees what happens. ``tunelab.cli.progress`` has one for terminals, one for logs and one for machines."""

    def started(self, step: Step) -> None:
        """A step begins."""
        ...

    def progressed(self, step: Step, done: int, total: int, unit: str) -> None:
        """A step moved."""
        ...

    def ended(self, step: Step, state: State, message: str) -> None:
        """A step ended; ``message`` is empty unless it failed or is blocked."""
        ...


@dataclass
class Outcome:
    """The end of a run: each planned step's state, by fingerprint, and what it became with its holes."""

    states: dict[str, State] = field(default_factory=dict[str, State])
    messages: dict[str, str] = field(default_factory=dict[str, str])
    effective: dict[str, Step] = field(default_factory=dict[str, Step])

    @property
    def ok(self) -> bool:
        """True when every step is finished."""
        return all(state in FINISHED for state in self.states.values())


class Runner:
    """Runs steps on one store, in this process."""

    def __init__(self, store: Store, reporter: Reporter) -> None:
        self._store = store
        self._reporter = reporter
        self._since = time.time()

    def run(self, targets: Iterable[Step]) -> Outcome:
        """Run all that ``targets`` need. KeyboardInterrupt leaves the store ready to resume, and goes on up."""
        outcome = Outcome()
        pending = topological(targets)
        while pending:
            remaining = self._pass(pending, outcome)
            if len(remaining) == len(pending):
                time.sleep(POLL_SECONDS)
            pending = remaining
        return outcome

    def _pass(self, pending: list[Step], outcome: Outcome) -> list[Step]:
        """Settle every step that can be settled now; return the others."""
        remaining: list[Step] = []
        for step in pending:
            if not self._settle(step, outcome):
                remaining.append(step)
        return remaining

    def _settle(self, step: Step, outcome: Outcome) -> bool:
        needed = (*step.inputs.values(), *step.after)
        if any(n.fingerprint not in outcome.states for n in needed):
            return False
        unmet = [n for n in needed if outcome.states[n.fingerprint] not in FINISHED]
        available = {k: s for k, s in step.inputs.items() if outcome.states[s.fingerprint] in FINISHED}
        if step.blocked is not None:
            return self._end(step, step, State.BLOCKED, step.blocked, outcome)
        if unmet and (not step.tolerant or not available):
            return self._end(step, step, State.BLOCKED, f"needs {unmet[0].name}", outcome)
        actual = step.with_inputs({k: outcome.effective[s.fingerprint] for k, s in available.items()})
        return self._obtain(step, actual, outcome)

    def _obtain(self, step: Step, actual: Step, outcome: Outcome) -> bool:
        """Find, run or leave one step whose inputs are there. True when it is settled."""
        if self._store.find(actual) is not None:
            return self._end(step, actual, State.CACHED, "", outcome)
        lease = self._store.claim(actual)
        if lease is None:
            return False
        try:
            if self._store.find(actual) is not None:
                return self._end(step, actual, State.CACHED, "", outcome)
            if message := self._failed_elsewhere(actual):
                return self._end(step, actual, State.FAILED, message, outcome)
            self._reporter.started(actual)
            state, message = self._attempt(actual, lease)
        except LeaseLost:
            return False
        finally:
            lease.release()
        return self._end(step, actual, state, message, outcome)

    def _attempt(self, step: Step, lease: Lease) -> tuple[State, str]:
        """Run one step; the only place where a step's errors are caught."""
        directory = self._store.directory(step)
        attempt = Attempt(directory)
        try:
            self._execute(step, lease, attempt)
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: any failure becomes a row, the rest goes on
            message = describe(error)
            failure = {"error": message, "traceback": traceback.format_exc(), "time": _now()}
            _keep_failure(self._store, step, failure)
            return State.FAILED, message
        finally:
            attempt.close()
        return State.DONE, ""

    def _execute(self, step: Step, lease: Lease, attempt: Attempt) -> None:
        context = StepContext(
            settings=step.settings,
            circumstance=step.circumstance,
            inputs={name: self._store.open(needed) for name, needed in step.inputs.items()},
            holes=step.holes,
            directory=self._store.directory(step),
            progress=lambda done, total, unit: self._reporter.progressed(step, done, total, unit),
        )
        step.function()(context)
        shutil.rmtree(context.directory / SCRATCH, ignore_errors=True)
        self._store.complete(step, lease, attempt.record(context.facts))

    def _failed_elsewhere(self, step: Step) -> str:
        """Return the error of an attempt that another process made and lost since this run began."""
        path = self._store.directory(step) / FAILED
        if not path.exists():
            return ""
        failure = read_json(path)
        return failure["error"] if datetime.fromisoformat(failure["time"]).timestamp() > self._since else ""

    def _end(self, step: Step, actual: Step, state: State, message: str, outcome: Outcome) -> bool:
        outcome.states[step.fingerprint] = state
        outcome.effective[step.fingerprint] = actual
        if message:
            outcome.messages[step.fingerprint] = message
        self._reporter.ended(actual, state, message)
        return True


def describe(error: Exception) -> str:
    """Return one line for a person. An error that tunelab did not raise on purpose is named by its type."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = error.filename or "a file"
        return f"disk full while writing {where}; free some space and run again: finished work is kept"
    if isinstance(error, TunelabError):
        return str(error)
    first = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
    return f"{type(error).__name__}: {first}"


def _keep_failure(store: Store, step: Step, failure: dict[str, str]) -> None:
    """Write ``failed.json``; on a full disk the failure is still reported, only not kept."""
    try:
        write_json(store.directory(step) / FAILED, failure)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def artifact_of(store: Store, outcome: Outcome, step: Step) -> Artifact | None:
    """Return what a planned step became in this run, or None when it has no result."""
    actual = outcome.effective.get(step.fingerprint)
    return store.find(actual) if actual is not None else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
