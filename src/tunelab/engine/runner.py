"""The runner: takes ready steps one after the other until none is left, here or in another process.

A step that fails blocks what depends on it and nothing else. The error is kept in the step's folder as
``failed.json``; the next run tries again. Several runners may share a store: each claims a step before it runs
it, passes over steps that others run, and waits for them only when nothing else is left to do. A finished step that
owes work is tried once a run, in its own folder. Steps that may run at once do when the first of them is reached.
"""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Protocol

from tunelab.engine.attempt import Attempt, was_killed
from tunelab.engine.folder import FAILED, read_json
from tunelab.engine.group import Claimed, claimed, complete, context_of, run_at_once
from tunelab.engine.lease import Lease
from tunelab.engine.plan import topological
from tunelab.engine.record import Artifact
from tunelab.engine.step import Step
from tunelab.engine.store import Store
from tunelab.errors import LeaseLost, StoreError, TunelabError
from tunelab.files import disk_full, write_json

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
    owed: dict[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])
    """What each finished step still owes, for those that owe something."""

    @property
    def ok(self) -> bool:
        """True when every step is finished."""
        return all(state in FINISHED for state in self.states.values())

    def failures(self) -> dict[str, str]:
        """Name and error of each step that failed; what was blocked by it is not listed."""
        failed = (f for f, state in self.states.items() if state is State.FAILED)
        return {self.effective[f].name: self.messages[f] for f in failed}

    def owed_by_name(self) -> dict[str, Mapping[str, int]]:
        """Name of each step that owes work to what it owes."""
        return {self.effective[f].name: work for f, work in self.owed.items()}


class Runner:
    """Runs steps on one store, in this process."""

    def __init__(self, store: Store, reporter: Reporter) -> None:
        self._store = store
        self._reporter = reporter
        self._since = 0.0
        self._taken: Collection[str] = ()
        self._pending: Sequence[Step] = ()
        self._alone: dict[str, str] = {}
        """Why each step that was to run at once with others runs by itself; empty where it did run with them."""

    def run(self, targets: Iterable[Step], taken: Collection[str] = (), since: float | None = None) -> Outcome:
        """Run all that ``targets`` need. KeyboardInterrupt leaves the store ready to resume, and goes on up.

        ``taken`` are fingerprints of steps that are taken as they are, whatever they owe. ``since`` is when this run
        began, where it goes on with one whose process died: what has failed since then is not tried again.
        """
        outcome, self._since, self._taken = Outcome(), time.time() if since is None else since, taken
        pending, self._alone = topological(targets), {}
        while pending:
            self._pending = pending
            remaining = self._pass(pending, outcome)
            if len(remaining) == len(pending):
                time.sleep(POLL_SECONDS)
            pending = remaining
        return outcome

    def _pass(self, pending: list[Step], outcome: Outcome) -> list[Step]:
        """Settle every step that can be settled now; return the others."""
        remaining: list[Step] = []
        for step in pending:
            if step.fingerprint not in outcome.states and not self._settle(step, outcome):
                remaining.append(step)
        return remaining

    def _settle(self, step: Step, outcome: Outcome) -> bool:
        if any(needed.fingerprint not in outcome.states for needed in step.needs):
            return False
        became = {f: outcome.effective[f] for f, state in outcome.states.items() if state in FINISHED}
        if lacking := step.lacking(became):
            return self._end(step, step, State.BLOCKED, f"needs {lacking.name}", outcome)
        if step.together:
            self._run_at_once(step, outcome)
        return self._obtain(step, step.over(became, outcome.messages), outcome)

    def _run_at_once(self, first: Step, outcome: Outcome) -> None:
        """Run a step at once with those of its key that are ready and not done; whatever fails leaves it to itself."""
        mates = [step for step in self._pending if self._may_join(first, step, outcome)]
        if len(mates) < 2:
            return
        group: list[Claimed] = []
        try:
            with claimed(mates, self._store, self._stays_out) as group:
                if len(group) < 2:
                    return
                why = run_at_once(group, self._store, self._reporter)
        except Exception as error:  # noqa: BLE001 - each is tried by itself, where its own error is kept
            why = f"at once with others it failed: {describe(error, self._store.root)}"
            warnings.warn(f"{first.name}: {why}; each is run by itself", stacklevel=2)
        self._alone |= {one.step.fingerprint: why for one in group}
        for one in group:
            if not why and one.step is not first:
                self._obtain(one.step, one.step, outcome)

    def _may_join(self, first: Step, step: Step, outcome: Outcome) -> bool:
        """Say whether a step is of the same key and ready, once all that it needs is settled."""
        if not step.together or first.together != step.together or step.blocked is not None:
            return False
        if step.fingerprint in outcome.states or step.fingerprint in self._alone:
            return False
        for needed in topological(step.needs):
            if needed.fingerprint not in outcome.states:
                self._settle(needed, outcome)
        return all(outcome.states.get(needed.fingerprint) in FINISHED for needed in step.needs)

    def _stays_out(self, step: Step) -> bool:
        """Say whether a step is not run at once with others, as it has failed or was killed in this run."""
        if was_killed(self._store.directory(step), self._since):
            self._alone[step.fingerprint] = "a process was killed while it ran at once with others"
        return step.fingerprint in self._alone or bool(self._failed_elsewhere(step))

    def _obtain(self, step: Step, actual: Step, outcome: Outcome) -> bool:
        """Find, run or leave one step whose inputs are there. True when it is settled."""
        try:
            if self._is_settled(actual, self._store.find(actual)):
                ended = State.DONE if actual.fingerprint in self._alone else State.CACHED, ""
            elif step.blocked is not None:
                ended = State.BLOCKED, step.blocked
            else:
                ended = self._claim_and_run(actual)
            if (found := self._store.find(actual)) and found.record.owed:
                outcome.owed[step.fingerprint] = found.record.owed
        except LeaseLost:
            return False
        except (OSError, StoreError) as error:
            ended = State.FAILED, describe(error, self._store.root)
        return ended is not None and self._end(step, actual, *ended, outcome)

    def _is_settled(self, step: Step, found: Artifact | None) -> bool:
        """Say whether nothing is left to do: what a finished step owes is tried where it can be, once a run."""
        if found is None or not found.record.owed:
            return found is not None
        tried = datetime.fromisoformat(found.record.finished).timestamp() > self._since
        return tried or step.blocked is not None or step.fingerprint in self._taken

    def _claim_and_run(self, step: Step) -> tuple[State, str] | None:
        """Run a step unless another process has run it or runs it; None in the latter case."""
        lease = self._store.claim(step)
        if lease is None:
            return None
        try:
            found = self._store.find(step)
            if self._is_settled(step, found):
                return State.CACHED, ""
            if message := self._failed_elsewhere(step):
                return State.FAILED, message
            if found is not None:
                self._store.reopen(step)
            self._reporter.started(step)
            return self._attempt(step, lease)
        finally:
            lease.release()

    def _attempt(self, step: Step, lease: Lease) -> tuple[State, str]:
        """Run one step; the only place where a step's own errors are caught."""
        directory = self._store.directory(step)
        try:
            with closing(Attempt(directory)) as attempt:
                self._execute(step, lease, attempt)
        except LeaseLost:
            raise
        except Exception as error:  # the boundary: any failure becomes a row, the rest goes on
            message = describe(error, directory)
            if not lease.held():
                raise LeaseLost(
                    f"{step.name}: another process took this step over; it failed here: {message}"
                ) from error
            keep_failure(directory / FAILED, message, traceback.format_exc())
            return State.FAILED, message
        return State.DONE, ""

    def _execute(self, step: Step, lease: Lease, attempt: Attempt) -> None:
        own = Claimed(step, lease)
        context = context_of(own, self._store, self._reporter, self._alone.get(step.fingerprint, ""))
        step.function()(context)
        complete(own, context, attempt, self._store)

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


def describe(error: Exception, directory: Path) -> str:
    """Return one line for a person. An error that tunelab did not raise on purpose is named by its type."""
    if disk_full(error):
        where = getattr(error, "filename", None) or directory
        return f"disk full while writing {where}; free some space and run again: finished work is kept"
    if isinstance(error, TunelabError):
        return str(error)
    first = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
    return f"{type(error).__name__}: {first}"


def keep_failure(path: Path, error: str, trace: str = "") -> None:
    """Write ``failed.json``; where that cannot be done the failure is still reported, only not kept."""
    with suppress(OSError):
        write_json(path, {"error": error, "traceback": trace, "time": _now()})


def artifact_of(store: Store, outcome: Outcome, step: Step) -> Artifact | None:
    """Return what a planned step became in this run, or None when it has no result."""
    actual = outcome.effective.get(step.fingerprint)
    return store.find(actual) if actual is not None else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
