"""The side of the judge: the data set's tests run here, against what the candidate's process answers.

A test calls the candidate by name like any function. The call crosses to the sandbox as plain data, and what comes
back is rebuilt as exact built-in types, so no method of the candidate's ever runs where the verdict is made. A
program that exits, hangs, floods or answers anything else than data has failed, whatever the test makes of it.

One process waits with all that is needed loaded and forks a judge for each program; each judge starts one sandbox,
judges one program and takes the sandbox down with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import reprlib
import resource
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from tunelab.scoring.code.candidate import decode, described, encode, packed, receive, write

START_SECONDS = 30.0
"""How long a sandbox may take to start, on a machine that is busy with other things."""
MARGIN_SECONDS = 2.0
"""What the tests' own work may take beyond the wall clock of the program."""
MEMORY = 4 * 2**30
"""Bytes of address space for the tests' own work."""
MALFORMED = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, MemoryError)
SEED = 0
LONGEST = 400
"""Characters of a reason."""


class CandidateFailed(BaseException):
    """The candidate gave no answer. No test can take it for an exception that it expects."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Remote:
    """A value that stayed in the candidate's process: it can be called, gone through and handed back."""

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __init__(self, candidate: Candidate, number: int) -> None:
        self.candidate = candidate
        self.number = number

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.candidate.call(self, arguments, options)

    def __iter__(self) -> Any:
        return iter(self.candidate.ask({"iterate": self.number}))

    def __eq__(self, other: object) -> NoReturn:
        raise CandidateFailed("failed", "the program returned an object, where the test compares plain data")

    __ne__ = __eq__

    def __bool__(self) -> NoReturn:
        raise CandidateFailed("failed", "the program returned an object, where the test asks for plain data")


class Candidate:
    """One sandbox, asked one thing at a time until ``deadline``; ``connection`` ends when nobody waits any more."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], connection: int) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env=environment,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.requests, self.answers = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self.requests, False)
        self.connection = connection
        self.deadline = time.monotonic() + START_SECONDS
        self.failure: CandidateFailed | None = None
        self.last: Any = None

    def call(self, function: Remote, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
        sent = [encode(value, self._number) for value in (list(arguments), options)]
        self.last = self.ask({"call": function.number, "arguments": sent[0], "options": sent[1]})
        return self.last

    def ask(self, request: dict[str, Any]) -> Any:
        """Return the value of a request. Raises CandidateFailed; once there is no answer, there never is one again."""
        if self.failure is not None:
            raise self.failure
        try:
            self._write(packed(request))
            [(kind, content)] = self.read().items()
            value = {"value": self._decoded, "raised": str}[kind](content)
        except CandidateFailed as failure:
            self.failure = failure
            raise
        except (*MALFORMED, AttributeError) as error:
            self.failure = CandidateFailed("failed", f"the program answered with no data: {described(error)}")
            raise self.failure from None
        if kind == "raised":
            raise CandidateFailed("failed", f"the program raised {value}")
        return value

    def _decoded(self, content: Any) -> Any:
        return decode(content, lambda number: Remote(self, number))

    def _number(self, value: Any) -> int:
        if isinstance(value, Remote):
            return value.number
        raise TypeError(f"the test hands a {type(value).__name__} to the program, expected plain data")

    def read(self) -> Any:
        """Return the next message. Raises CandidateFailed, or ValueError for what is no message."""
        return receive(self._piece)

    def _piece(self, size: int) -> bytes:
        self._wait([self.answers], [])
        found = os.read(self.answers, size)
        if not found:
            raise self._ended()
        return found

    def _write(self, content: bytes) -> None:
        while content:
            self._wait([], [self.requests])
            try:
                content = content[os.write(self.requests, content) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._ended() from None

    def _wait(self, readable: list[int], writable: list[int]) -> None:
        left = self.deadline - time.monotonic()
        ready, able, _ = select.select([*readable, self.connection], writable, [], max(0.0, left))
        if self.connection in ready:
            vanish()
        if not ready and not able:
            raise CandidateFailed("timeout", "the wall clock ran out")

    def _ended(self) -> CandidateFailed:
        """Say how the process ended: by a signal, or in its own way."""
        try:
            code = self.process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return CandidateFailed("failed", "the program closed its way to answer")
        killed = -code if code < 0 else code - 128
        if killed in (signal.SIGXCPU, signal.SIGKILL):
            return CandidateFailed("timeout", "the processor time ran out")
        return CandidateFailed("failed", f"the program ended its process with the status {code}")


def judge(job: dict[str, Any], candidate: Candidate) -> dict[str, str]:
    """Run a program and its tests and return the verdict: ``kind`` is passed, failed, timeout or unscored."""
    space: dict[str, Any] = {"__name__": "tests"}
    tests: list[str] = job["tests"]
    stages: list[tuple[str, Callable[[], Any]]] = [
        ("setup", lambda: exec(compile(job["setup"], "<setup>", "exec"), space)),
        ("program", lambda: candidate.ask({"run": job["program"]})),
        ("names", lambda: space.update({name: candidate.ask({"name": name}) for name in job["names"]})),
        *[
            (f"test {number} of {len(tests)}", lambda source=source: exec(compile(source, "<test>", "exec"), space))
            for number, source in enumerate(tests, 1)
        ],
    ]
    for stage, run in stages:
        try:
            run()
            if candidate.failure is not None:
                raise candidate.failure
        except CandidateFailed as failure:
            return {"kind": failure.kind, "stage": stage, "reason": str(failure)[:LONGEST]}
        except BaseException as error:  # noqa: BLE001 - a test fails by raising, whatever it raises
            return {"kind": "failed", "stage": stage, "reason": _reason(error, job, stage, candidate.last)[:LONGEST]}
    return {"kind": "passed", "stage": "", "reason": ""}


def _reason(error: BaseException, job: dict[str, Any], stage: str, last: Any) -> str:
    """Return the line of the test that failed, what was raised there, and the candidate's last answer."""
    if not stage.startswith("test"):
        return described(error)
    source: list[str] = job["tests"][int(stage.split()[1]) - 1].splitlines()
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<test>"]
    where = source[lines[-1] - 1].strip() if lines and lines[-1] else ""
    what = "" if isinstance(error, AssertionError) else f"; {described(error)}"
    return f"{where}{what}; last answer: {_short(last)}"


def _short(value: Any) -> str:
    try:
        return "an object" if isinstance(value, Remote) else reprlib.repr(value)
    except ValueError:
        return "a number of very many digits"


def vanish() -> NoReturn:
    """End this judge, its sandbox and all that they started."""
    os.killpg(0, signal.SIGKILL)
    raise AssertionError("unreachable")


def serve(connection: int, settings: dict[str, Any]) -> NoReturn:
    """Start a sandbox, say so, judge one program in it, and vanish."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    candidate = Candidate(settings["command"], settings["environment"], connection)
    try:
        candidate.read()
    except (CandidateFailed, *MALFORMED) as failure:
        write(connection, packed({"refused": f"the sandbox did not start: {failure}"}))
        vanish()
    with contextlib.suppress(OSError, EOFError):
        write(connection, packed({"ready": True}))
        job = receive(partial(os.read, connection))
        signal.setitimer(signal.ITIMER_REAL, settings["wall"] + MARGIN_SECONDS)
        candidate.deadline = time.monotonic() + settings["wall"]
        write(connection, packed(judge(job, candidate)))
    vanish()


def reap(*_: object) -> None:
    """Take down what a judge left that was ended by a limit, and let the dead go."""
    with contextlib.suppress(ChildProcessError):
        while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(dead.si_pid, signal.SIGKILL)
            os.waitpid(dead.si_pid, 0)


def adopt_orphans() -> None:
    """Become the parent of what loses its own, so that none of the dead stays in the table of processes."""
    if sys.platform == "linux":
        set_child_subreaper = 36
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def main() -> None:
    """Fork a judge for every connection that comes through the socket, until its other end is closed."""
    settings = json.loads(sys.argv[2])
    random.seed(SEED)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    adopt_orphans()
    signal.signal(signal.SIGCHLD, reap)
    with socket.socket(fileno=int(sys.argv[1])) as control:
        while True:
            message, connections, _, _ = socket.recv_fds(control, 1, 1)
            if not message:
                return
            if os.fork() == 0:
                control.close()
                serve(connections[0], settings)
            os.close(connections[0])
