"""The side of the judge: the data set's tests run here, against what the candidate's process answers.

A test calls the candidate by name like any function, and the call crosses to the sandbox as plain data (see
``tunelab.scoring.code.remote``). What a test expects stays here, and only here a verdict is made.

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
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from tunelab.scoring.code.candidate import described, packed, receive, write
from tunelab.scoring.code.remote import MALFORMED, Candidate, CandidateFailed, Remote, vanish

MARGIN_SECONDS = 2.0
"""What the tests' own work may take beyond the wall clock of the program."""
MEMORY = 4 * 2**30
"""Bytes of address space for the tests' own work."""
SEED = 0
LONGEST = 400
"""Characters of a reason."""


def judge(job: dict[str, Any], candidate: Candidate) -> dict[str, str]:
    """Run a program and its tests and return the verdict: ``kind`` is passed, failed or timeout."""
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
