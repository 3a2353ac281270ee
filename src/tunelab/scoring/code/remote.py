"""The judge's hold on a candidate: questions to its sandbox, and the answers as values of exact built-in types.

Whatever comes back is checked before it is believed to be an answer. A program that gives none has failed for good,
and no test can take that for an exception that it expects.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from tunelab.scoring.code.candidate import decode, described, encode, packed, receive

START_SECONDS = 30.0
"""How long a sandbox may take to start, on a machine that is busy with other things."""
MALFORMED = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, MemoryError)


class CandidateFailed(BaseException):
    """The candidate gave no answer. No test can take it for an exception that it expects."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Remote:
    """A value that stayed in the candidate's process: called, gone through, handed back or asked if it is true.

    Truth is what a function could as well have answered itself. Equality is not: it would be the candidate's to
    decide whether it is what the test expects.
    """

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

    def __bool__(self) -> bool:
        return self.candidate.ask({"truth": self.number}) is True


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


def vanish() -> NoReturn:
    """End this judge, its sandbox and all that they started."""
    os.killpg(0, signal.SIGKILL)
    raise AssertionError("unreachable")
