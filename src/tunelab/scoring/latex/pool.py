"""Processes that compare answers by math-verify, kept warm, and the verdicts that come back from them.

A process works for one caller at a time. One that does not answer in time is killed, and the next comparison has
another. Whoever asks sees a verdict or a ComparisonError: a comparison that was not made counts neither as right nor as
wrong. Every process of ours has workers of its own, which end with it, however it ends.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from tunelab.errors import StepError
from tunelab.scoring.code.candidate import packed, receive

Verdict = Literal["equal", "different", "unreadable", "timeout"]

WORKERS = 4
"""Processes at most; a caller that is alone has one."""
ATTEMPTS = 2
START_SECONDS = 60.0
BOOT = (
    "import json, sys; settings = json.loads(sys.argv[1]); sys.path[:] = settings['path']; "
    "from tunelab.scoring.latex.worker import serve; serve(settings)"
)
SOURCE = str(Path(__file__).parents[3])


@dataclass(frozen=True)
class Limits:
    """What one comparison may use. Sizes are in bytes, times in seconds."""

    cpu: int = 3
    """Processor time, rounded up to whole seconds since the process began."""
    wall: float = 10.0
    """For a machine that has much else to do: the limit of processor time comes first."""
    memory: int = 2**30
    kept: int = 2**28
    """Memory above which a process is not asked again: caches keep what once was large."""


class ComparisonError(StepError):
    """Two answers could not be compared: math-verify did not load, or its process was taken away."""


class WorkerEnded(Exception):
    """A worker ended without an answer, and not by a limit."""


class Worker:
    """A process with math-verify loaded, for one request at a time."""

    def __init__(self, limits: Limits) -> None:
        """Start the process and do not wait for it. Raises OSError."""
        self._wall = limits.wall
        self._connection, theirs = socket.socketpair()
        self._ready = False
        self.usable = False
        """Whether it has answered all that it was asked, and may be asked again."""
        with theirs:
            try:
                self.process = _started(theirs.fileno(), limits)
            except OSError:
                self._connection.close()
                raise

    def verdict(self, request: bytes) -> Verdict:
        """Return the verdict on a pair. Raises WorkerEnded when the process ended without one."""
        self.usable = False
        self._await_ready()
        try:
            self._connection.settimeout(self._wall)
            self._connection.sendall(request)
            found = self._reply(self._wall)
        except TimeoutError:
            return "timeout"
        except (EOFError, OSError, ValueError):
            self.end()
            if self.process.returncode == -signal.SIGXCPU:
                return "timeout"
            raise WorkerEnded(f"it ended with status {self.process.returncode}") from None
        self.usable = not found["last"]
        return "equal" if found["equal"] else "different" if found["read"] else "unreadable"

    def _await_ready(self) -> None:
        if self._ready:
            return
        try:
            found = self._reply(START_SECONDS)
        except (EOFError, OSError, ValueError) as error:
            found = {"refused": f"it did not start ({type(error).__name__})"}
        if "ready" not in found:
            raise WorkerEnded(found["refused"])
        self._ready = True

    def _reply(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds

        def piece(size: int) -> bytes:
            self._connection.settimeout(max(deadline - time.monotonic(), 1e-3))
            return self._connection.recv(size)

        return receive(piece)

    def end(self) -> None:
        """Kill the process and let it go."""
        self._connection.close()
        self.process.kill()
        self.process.wait()


def _started(connection: int, limits: Limits) -> subprocess.Popen[bytes]:
    """Start a process that imports what this one would. Raises OSError.

    It is apart from the user's settings of Python but for one of ours, which -I would ignore: sympy goes through sets,
    and must do so in the same order in every run.
    """
    path = [SOURCE, *sys.path]
    settings = {"path": path, "limits": asdict(limits), "connection": connection, "parent": os.getpid()}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.Popen(
        [sys.executable, *("-s", "-S", "-P", "-W", "ignore"), "-c", BOOT, json.dumps(settings)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[connection],
        env=environment | {"PYTHONHASHSEED": "0"},
        start_new_session=True,
    )


class Pool:
    """Workers of one process. A context manager; several threads may share it."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(WORKERS)
        self._idle: deque[Worker] = deque()
        self._closed = False
        self._process = os.getpid()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers that wait; one at work ends with its comparison. A fork leaves those of its parent alone."""
        if os.getpid() != self._process:
            return
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.popleft().end()

    def verdict(self, gold: str, answer: str) -> Verdict:
        """Say whether an answer is mathematically the gold one. Raises ComparisonError when nobody could say."""
        request = packed({"gold": gold, "answer": answer})
        why = ""
        with self._slots:
            for _ in range(ATTEMPTS):
                try:
                    worker = self._take()
                except OSError as error:
                    why = f"it did not start ({error})"
                    continue
                try:
                    return worker.verdict(request)
                except WorkerEnded as ended:
                    why = str(ended)
                finally:
                    self._give_back(worker)
        raise ComparisonError(f"math-verify's process: {why}, {ATTEMPTS} times")

    def _take(self) -> Worker:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return Worker(self._limits)

    def _give_back(self, worker: Worker) -> None:
        with self._lock:
            if worker.usable and not self._closed:
                self._idle.append(worker)
                return
        worker.end()


@cache
def _shared(process: int) -> Pool:
    pool = Pool()
    atexit.register(pool.close)
    return pool


def shared() -> Pool:
    """Return this process's own pool, whose workers start when they are needed and end with the process."""
    return _shared(os.getpid())
