"""Sandboxes that are started ahead, each for one program, and the verdicts that come back from them.

A program waits for a call and not for the start of two processes. Whoever asks sees a verdict or a SandboxError:
there is no third way in which a program that was not judged could count as right or wrong.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from tunelab.errors import StepError
from tunelab.scoring.code.candidate import packed, receive
from tunelab.scoring.code.judge import MARGIN_SECONDS
from tunelab.scoring.code.remote import START_SECONDS
from tunelab.scoring.code.sandbox import ENVIRONMENT, Choice, Sandbox, require

AHEAD = 4
"""Sandboxes that wait for a program: enough that on two cores none is waited for."""
ATTEMPTS = 3
BOOT = "import sys; sys.path.insert(0, sys.argv.pop(1)); from tunelab.scoring.code.judge import main; main()"


class SandboxError(StepError):
    """A program could not be judged: the sandbox did not start, or its judge was taken away."""


@dataclass(frozen=True)
class Program:
    """A candidate's program, and the data set's code that tests it.

    ``setup`` runs beside the tests, never with the candidate. ``names`` are what the tests call of the program.
    """

    source: str
    names: Sequence[str]
    tests: Sequence[str]
    setup: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether a program passed all its tests, and where and why not."""

    kind: Literal["passed", "failed", "timeout"]
    stage: str = ""
    reason: str = ""

    @property
    def passed(self) -> bool:
        return self.kind == "passed"


class Pool:
    """Sandboxes of one kind. A context manager; several threads may share it."""

    def __init__(self, sandbox: Sandbox | None = None, ahead: int = AHEAD) -> None:
        """Raises StepError where no sandbox works on this machine."""
        self.sandbox = sandbox or Sandbox()
        require(self.sandbox.choice)
        self._ahead = ahead
        self._lock = threading.Lock()
        self._waiting: deque[socket.socket] = deque()
        self._start_judges()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the sandboxes that wait; one at work ends with its program."""
        with self._lock:
            self._stop()

    def verdict(self, program: Program) -> Verdict:
        """Judge a program in a sandbox of its own. Raises SandboxError when it could not be judged."""
        job = packed(
            {
                "program": program.source,
                "names": list(program.names),
                "tests": list(program.tests),
                "setup": program.setup,
            }
        )
        with self._ready() as connection:
            found = self._answer(connection, job)
        return Verdict(found["kind"], found["stage"], found["reason"])

    def _answer(self, connection: socket.socket, job: bytes) -> dict[str, Any]:
        """Return a judge's verdict. A judge that an alarm ended was kept by the tests, and by nothing else."""
        wall = self.sandbox.limits.wall
        connection.settimeout(wall + 2 * MARGIN_SECONDS)
        begun = time.monotonic()
        try:
            connection.sendall(job)
            return receive(connection.recv)
        except (EOFError, OSError) as error:
            if time.monotonic() - begun < wall:
                raise SandboxError(f"code sandbox: the judge ended at once ({type(error).__name__})") from None
            return {"kind": "timeout", "stage": "tests", "reason": "the tests did not end within the wall clock"}

    def _ready(self) -> socket.socket:
        """Return the connection to a sandbox that has started. Raises SandboxError."""
        why = ""
        for _ in range(ATTEMPTS):
            try:
                connection = self._take()
            except OSError as error:
                why = f"the judges are gone ({type(error).__name__})"
                continue
            connection.settimeout(2 * START_SECONDS)
            try:
                found = receive(connection.recv)
            except (EOFError, OSError) as error:
                found = {"refused": f"the judge did not start ({type(error).__name__})"}
            if "ready" in found:
                return connection
            connection.close()
            why = found["refused"]
        raise SandboxError(f"code sandbox: {why}, {ATTEMPTS} times; run `tunelab doctor`")

    def _take(self) -> socket.socket:
        with self._lock:
            if self._judges.poll() is not None:
                self._stop()
                self._start_judges()
            while len(self._waiting) <= self._ahead:
                self._waiting.append(self._started())
            return self._waiting.popleft()

    def _started(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"+"], [theirs.fileno()])
        return ours

    def _start_judges(self) -> None:
        self._control, theirs = socket.socketpair()
        own = {"PATH": os.environ.get("PATH", os.defpath)}
        settings = {
            "command": self.sandbox.command(),
            "environment": ENVIRONMENT if self.sandbox.choice == "none" else own,
            "wall": self.sandbox.limits.wall,
        }
        arguments = [str(Path(__file__).parents[3]), str(theirs.fileno()), json.dumps(settings)]
        with theirs:
            self._judges = subprocess.Popen(
                [sys.executable, *("-I", "-S", "-W", "ignore"), "-c", BOOT, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def _stop(self) -> None:
        self._control.close()
        while self._waiting:
            self._waiting.popleft().close()
        self._judges.wait()


@cache
def _shared(choice: Choice, process: int) -> Pool:
    pool = Pool(Sandbox(choice))
    atexit.register(pool.close)
    return pool


def shared(choice: Choice) -> Pool:
    """Return this process's own pool, started at the first use and closed when the process ends."""
    return _shared(choice, os.getpid())
