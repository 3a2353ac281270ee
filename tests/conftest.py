"""Every test runs offline: only loopback can be reached. Properties are judged by their result, never by speed.

The libraries leave close to a million objects that live as long as the process. They are kept from the garbage
collector, which trainings and statistics call by hand, half a second a time.
"""

import gc
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from playwright.sync_api import Browser

from browsing import chromium, open_browser
from preloaded import CommandLine
from tunelab.scoring.code.sandbox import refusal

settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")

LONGEST = ("test_survives_kills", "test_grpo_survives_kills", "test_by_hand")
LOOPBACK = ("127.", "localhost", "::1")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest come first: begun last, one of them would keep a worker busy after the others have ended."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture(scope="session")
def command_line() -> Iterator[CommandLine]:
    """Runs programs in processes of their own that find the large libraries imported."""
    started = CommandLine()
    yield started
    started.close()


@pytest.fixture(autouse=True, scope="session")
def only_loopback() -> Iterator[None]:
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not str(address[0]).startswith(LOOPBACK):
            raise OSError(f"tests reach only loopback, got {address[0]}")
        connect(self, address)

    socket.socket.connect = guarded
    yield
    socket.socket.connect = connect


@pytest.fixture(scope="session")
def sandboxed() -> None:
    """Needs the sandbox: skipped with the reason where it is missing, failed with TUNELAB_SANDBOX=required."""
    why = refusal("bubblewrap")
    if why and os.environ.get("TUNELAB_SANDBOX") == "required":
        pytest.fail(why)
    if why:
        pytest.skip(why)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium: skipped with the reason where it is missing, failed with TUNELAB_BROWSER=required.

    It ends with its module: as long as it is there an event loop is running, which other tests start themselves.
    """
    if chromium() is None:
        why = "no chromium on PATH; apt-get install chromium"
        if os.environ.get("TUNELAB_BROWSER") == "required":
            pytest.fail(why)
        pytest.skip(why)
    with open_browser() as opened:
        yield opened
