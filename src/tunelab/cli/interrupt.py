"""An interrupt ends a command, and one that Python drops is raised again."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from tunelab.engine.supervisor import ASKED

AGAIN_SECONDS = 0.05
SAME_SECONDS = 2.0
"""For so long after an interrupt others are the same one, handed on."""


class Interrupts:
    """Handles signals that ask for an end, and what Python drops.

    A terminal asks the whole process group, and the supervisor hands it on: the second signal must not end the tidying
    that the first began. Whoever asks again later means it. Python drops what is raised in a destructor or in a weak
    reference's callback, where a signal may well arrive.
    """

    def __init__(self, tell: Callable[[sys.UnraisableHookArgs], Any]) -> None:
        """``tell`` is given what else is dropped."""
        self._tell = tell
        self._heard = -SAME_SECONDS

    def hear(self, number: int, frame: Any) -> None:
        """Raise KeyboardInterrupt, once for signals that come together."""
        if time.monotonic() - self._heard >= SAME_SECONDS:
            self._heard = time.monotonic()
            raise KeyboardInterrupt

    def dropped(self, found: sys.UnraisableHookArgs) -> None:
        """Ask again for an interrupt that was dropped."""
        if not _is_interrupt(found.exc_value):
            self._tell(found)
            return
        self._heard = -SAME_SECONDS
        threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGINT)).start()


def hear_interrupts() -> None:
    """Have SIGINT and SIGTERM raise KeyboardInterrupt in the main thread from now on."""
    interrupts = Interrupts(sys.unraisablehook)
    for number in ASKED:
        signal.signal(number, interrupts.hear)
    sys.unraisablehook = interrupts.dropped


def _is_interrupt(error: BaseException | None) -> bool:
    """Say whether an error is an interrupt, or came while one was under way."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
