"""An interrupt ends a command once, however often it is asked for, and is never lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from tunelab.engine.supervisor import ASKED

AGAIN_SECONDS = 0.05


def hear_interrupts() -> None:
    """Have SIGINT and SIGTERM raise KeyboardInterrupt in the main thread, the first of them alone.

    A terminal asks the whole process group, and the supervisor hands it on: the second must not end the tidying that
    the first began. Python drops what is raised in a destructor or in a weak reference's callback, where a signal may
    well arrive; it is then raised again a moment later.
    """
    for number in ASKED:
        signal.signal(number, _raise_once)
    sys.unraisablehook = _tell_or_ask_again


def _raise_once(number: int, frame: Any) -> None:
    for asked in ASKED:
        signal.signal(asked, signal.SIG_IGN)
    raise KeyboardInterrupt


def _tell_or_ask_again(dropped: sys.UnraisableHookArgs) -> None:
    if not issubclass(dropped.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)
        return
    for number in ASKED:
        signal.signal(number, _raise_once)
    threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGINT)).start()
