"""What a run plans and how far it is, written on the store for those who watch it, like ``tunelab view``.

``<store>/runs/<study>-<8 hex>/run.json`` has the study, who runs it, every planned step with what it needs, and the
state of each that is settled; ``progress.json`` beside it how far the running one is, at most once a second. Both are
replaced as a whole and without waiting for the disk: results never depend on them. A step's folder, and so its record,
has nothing of this. A run that begins removes the notes of its study's runs that are over, so their number is that of
studies.

A journal must not make a run fail. What cannot be written (a full disk) is left out, comes with the next change if that
can be written, and is named in ``trouble``, which the command line prints at the end.
"""

from __future__ import annotations

import math
import shutil
import time
import uuid
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunelab.engine import lease
from tunelab.engine.folder import LEASE, step_folder
from tunelab.engine.plan import topological
from tunelab.engine.runner import Reporter, State
from tunelab.engine.step import Step
from tunelab.files import read_json, replace_json

RUNS = "runs"
RUN = "run.json"
PROGRESS = "progress.json"
FORMAT = 1
PROGRESS_SECONDS = 1.0
OVER, INTERRUPTED, CRASHED = "over", "interrupted", "crashed"


@dataclass(frozen=True)
class Subject:
    """What a run is for: the study's name and question, and the folder of its results."""

    study: str
    question: str
    results: Path


class Journal:
    """A reporter that notes what happens and passes it on."""

    def __init__(self, store: Path, subject: Subject, targets: Iterable[Step], shown: Reporter) -> None:
        self.trouble = ""
        """Why watchers could not follow all of the run; empty where they could."""
        self._folder = store / RUNS / f"{_slug(subject.study)}-{uuid.uuid4().hex[:8]}"
        self._shown = shown
        self._progress: dict[str, Any] = {}
        self._noted = -math.inf
        self._states: dict[str, dict[str, str]] = {}
        steps = topological(targets)
        self._names = {step.origin: step.name for step in steps}
        self._note: dict[str, Any] = {
            "format": FORMAT,
            "study": subject.study,
            "question": subject.question,
            "results": str(subject.results.absolute()),
            "owner": lease.owner(),
            "started": _now(),
            "ended": None,
            "end": None,
            "steps": [_described(step) for step in steps],
            "states": self._states,
        }

    def begin(self) -> None:
        """Write the plan down, in place of what earlier runs of the study have left."""
        try:
            forget(self._folder.parent, self._note["study"])
        except OSError as error:
            self._trouble(error)
        self._save()

    def started(self, step: Step) -> None:
        """Note which step runs now."""
        self._save()
        self._progress = {"step": self._names.get(step.origin, step.name), "as": step.name, "started": time.time()}
        self._replace(PROGRESS, self._progress)
        self._noted = -math.inf
        self._shown.started(step)

    def progressed(self, step: Step, done: int, total: int, unit: str) -> None:
        """Note how far the step is, unless that was done within the last second."""
        if time.monotonic() - self._noted >= PROGRESS_SECONDS:
            self._noted = time.monotonic()
            first = self._progress.get("first") or [time.time(), done]
            self._progress |= {"done": done, "total": total, "unit": unit, "time": time.time(), "first": first}
            self._replace(PROGRESS, self._progress)
        self._shown.progressed(step, done, total, unit)

    def ended(self, step: Step, state: State, message: str) -> None:
        """Note how a step ended. Steps that were found finished come in bursts: they wait for the next change."""
        planned = self._names.get(step.origin, step.name)
        self._states[planned] = {"state": state.value, "message": message, "as": step.name}
        if state is not State.CACHED:
            self._save()
        self._shown.ended(step, state, message)

    def end(self, how: str) -> None:
        """Note that the run is at its end. Where it was cut short, the note of the step that it was at stays."""
        self._note |= {"ended": _now(), "end": how}
        self._save()
        if how != OVER:
            return
        try:
            (self._folder / PROGRESS).unlink(missing_ok=True)
        except OSError as error:
            self._trouble(error)

    def _save(self) -> None:
        self._replace(RUN, self._note)

    def _replace(self, name: str, content: dict[str, Any]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            replace_json(self._folder / name, content)
        except OSError as error:
            self._trouble(error)

    def _trouble(self, error: OSError) -> None:
        self.trouble = f"{error.filename or self._folder}: {error.strerror or error}"


@contextmanager
def journal(store: Path, subject: Subject, targets: Sequence[Step], shown: Reporter) -> Generator[Journal]:
    """Keep a journal for as long as the block runs; its end says whether it was interrupted."""
    kept = Journal(store, subject, targets, shown)
    kept.begin()
    try:
        yield kept
    except KeyboardInterrupt:
        kept.end(INTERRUPTED)
        raise
    except BaseException:
        kept.end(CRASHED)
        raise
    kept.end(OVER)


def is_alive(note: dict[str, Any], folder: Path) -> bool:
    """Say whether the run of a note goes on. One on another machine does if it wrote anything in the last minute."""
    if note["ended"] is not None:
        return False
    alive = lease.lives(note["owner"])
    return _touched(note, folder) if alive is None else alive


def forget(runs: Path, study: str) -> None:
    """Remove the notes of a study's runs that are over. A note that cannot be read is left for a person to see."""
    for folder in runs.glob(f"{_slug(study)}-*"):
        try:
            note = read_json(folder / RUN)
            over = note["study"] == study and not is_alive(note, folder)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            continue
        if over:
            shutil.rmtree(folder)


def _touched(note: dict[str, Any], folder: Path) -> bool:
    """Look at the notes themselves and at the leases of what was begun, by this machine's clock."""
    paths = [folder / RUN, folder / PROGRESS]
    fresh = [p for p in paths if p.exists() and time.time() - p.stat().st_mtime <= lease.STALE_SECONDS]
    try:
        running: str = read_json(folder / PROGRESS)["as"]
    except (FileNotFoundError, ValueError, KeyError):
        return bool(fresh)
    return bool(fresh) or lease.looks_held(step_folder(folder.parents[1], running) / LEASE)


def _described(step: Step) -> dict[str, Any]:
    return {"name": step.name, "kind": step.kind, "needs": list(dict.fromkeys(need.name for need in step.needs))}


def _slug(study: str) -> str:
    """The study's name as a folder may be called."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in study)[:60]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
