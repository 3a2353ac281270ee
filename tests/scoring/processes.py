"""What runs on this machine, seen from outside every sandbox."""

import time
from pathlib import Path

PATIENCE = 30
"""Seconds after which something that is still there will not go."""


def wait_until_gone(word):
    """Wait until no process has a word on its command line."""
    wait_until(lambda: not running(word))


def wait_until_there(word):
    wait_until(lambda: running(word))


def wait_until(holds):
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def running(word):
    """The processes that have a word on their command line."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [line] if word in line.read_text() else []
        except OSError:
            continue
    return found
