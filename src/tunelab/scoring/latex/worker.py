"""The side of math-verify: a process that compares one pair of answers after another.

What a model wrote can keep the library busy for good, or make it ask for all the memory there is. So it works here,
within limits, and whoever asks can end the process. Nothing is run in threads and nothing sets an alarm: the library's
own, SIGALRM, is turned off, since it does not interrupt a long multiplication.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunelab.scoring.code.candidate import described, packed, receive

LOOK_SECONDS = 1.0
"""How often a process that waits looks whether the one that it works for is still there."""

Compare = Callable[[str, str], dict[str, Any]]


def comparison() -> Compare:
    """Load math-verify, once with everything that a first comparison needs, and return how a pair is compared.

    A pair is gold and answer, in this order: the library takes a gold inequality for an interval, but not the reverse.
    """
    from math_verify import parse, verify
    from math_verify.parser import LatexExtractionConfig

    logging.disable()
    latex = [LatexExtractionConfig()]

    def compare(gold: str, answer: str) -> dict[str, Any]:
        known, found = (parse(f"${text}$", latex, parsing_timeout=0) for text in (gold, answer))
        equal = verify(known, found, timeout_seconds=0)
        return {"equal": bool(equal), "read": any(not isinstance(reading, str) for reading in found)}

    compare(r"\frac{1}{2}", "x + 1")
    return compare


def serve(settings: dict[str, Any]) -> None:
    """Answer requests over the socket ``connection`` until its other end, or the process ``parent``, is gone."""
    limits = settings["limits"]
    _lower_limits(limits["memory"])
    with socket.socket(fileno=settings["connection"]) as connection, contextlib.suppress(EOFError, OSError):
        try:
            compare = comparison()
        except Exception as error:  # noqa: BLE001 - whatever keeps the library from loading is told
            connection.sendall(packed({"refused": described(error)}))
            return
        connection.sendall(packed({"ready": True}))
        last = False
        while not last and _awaited(connection, settings["parent"]):
            reply = _answer(compare, receive(connection.recv), limits["cpu"])
            last = _held() > limits["kept"]
            connection.sendall(packed({**reply, "last": last}))


def _answer(compare: Compare, request: dict[str, str], cpu: int) -> dict[str, Any]:
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    _limit(resource.RLIMIT_CPU, int(time.process_time()) + 1 + cpu)
    try:
        return compare(request["gold"], request["answer"])
    except Exception:  # noqa: BLE001 - an answer at which the library fails is one that it cannot read
        return {"equal": False, "read": False}
    finally:
        _limit(resource.RLIMIT_CPU, most)


def _awaited(connection: socket.socket, parent: int) -> bool:
    """Wait for a request; return False when the parent is gone, whoever else may hold the other end."""
    while not select.select([connection], [], [], LOOK_SECONDS)[0]:
        if os.getppid() != parent:
            return False
    return True


def _held() -> int:
    """Return the bytes of memory that this process holds, 0 where the system does not tell.

    What getrusage tells is the most that it ever held, and counts the process that started it, which may be large.
    """
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def _lower_limits(memory: int) -> None:
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_AS, memory)


def _limit(kind: int, value: int) -> None:
    """Lower a limit as far as asked for; one that is lower already stays."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
