"""A crash is confined to the step that caused it: the work runs in a child process, and is begun again when that dies.

One child runs all steps, one after the other, so that libraries and models are loaded once. When a signal ends it (a
fault in a library, the kernel out of memory) the step that it was running is known by its lease. A fresh child goes on,
from the step's own checkpoint where it has one; a step whose process dies ``TRIES`` times has failed, and the others
go on. The child ends with its parent, however that ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tunelab.engine import lease
from tunelab.engine.folder import FAILED, LEASE
from tunelab.engine.runner import keep_failure

TRIES = 2
"""A process may die of what its step has nothing to do with; twice in the same step it hardly does."""
INTERRUPTED = 130
ASKED = (signal.SIGINT, signal.SIGTERM)


def supervised(work: Callable[[float | None], int], root: Path) -> int:
    """Return the exit code of ``work``, which runs the steps of the store at ``root`` in a child process.

    ``work`` is given None, and after a death the time at which all began, for ``Runner.run(since=…)``. This returns in
    the child too: let the caller exit with what it is given. Where processes cannot be forked it runs in this one.
    """
    began, deaths = time.time(), Counter[Path]()
    if not hasattr(os, "fork"):
        return work(None)
    while True:
        child = _fork()
        if child is None:
            return work(began if deaths else None)
        code = child.wait()
        if code >= 0:
            return code
        if -code in ASKED:
            return INTERRUPTED
        died_of = signal.Signals(-code).name
        if (folder := _was_running(root, child.owner)) is None:
            print(f"tunelab: the run's process was ended by {died_of} outside any step", file=sys.stderr)
            return 128 - code
        deaths[folder] += 1
        _tell(folder, died_of, deaths[folder])


class _Child:
    """A forked process that dies with this one; signals that ask for an end are handed on."""

    def __init__(self, pid: int, alive: int) -> None:
        self.owner = lease.owner(pid)
        self._pid, self._alive = pid, alive
        self._before = {number: signal.signal(number, self._hand_on) for number in ASKED}

    def wait(self) -> int:
        """Return the exit code, or less the number of the signal that ended it."""
        status = os.waitpid(self._pid, 0)[1]
        os.close(self._alive)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        return os.waitstatus_to_exitcode(status)

    def _hand_on(self, number: int, frame: Any) -> None:
        os.kill(self._pid, number)


def _fork() -> _Child | None:
    """Fork; the child gets None, and is killed when the other end of its pipe closes."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(reading)
        return _Child(pid, writing)
    os.close(writing)
    threading.Thread(target=_die_with_parent, args=(reading,), name="parent-watch", daemon=True).start()
    return None


def _die_with_parent(pipe: int) -> None:
    os.read(pipe, 1)
    os.kill(os.getpid(), signal.SIGKILL)


def _was_running(root: Path, owner: Mapping[str, Any]) -> Path | None:
    """Return the folder of the step that a process ran when it died."""
    return next((path.parent for path in root.glob(f"*/*/{LEASE}") if lease.is_of(path, owner)), None)


def _tell(folder: Path, died_of: str, deaths: int) -> None:
    name = f"{folder.parent.name}/{folder.name}"
    if deaths < TRIES:
        print(f"tunelab: {name}: {died_of} ended its process; trying again in a fresh one", file=sys.stderr)
        return
    hint = ", as the kernel does when memory runs out: see tunelab plan" if died_of == "SIGKILL" else ""
    keep_failure(folder / FAILED, f"{died_of} ended its process {deaths} times{hint}")
