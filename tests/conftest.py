"""Every test runs offline: only loopback can be reached. Properties are judged by their result, never by speed."""

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from tunelab.scoring.code.sandbox import refusal

settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")

LOOPBACK = ("127.", "localhost", "::1")


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
    """Needs the sandbox: CI must have it (TUNELAB_SANDBOX=required), a laptop may do without."""
    why = refusal("bubblewrap")
    if why and os.environ.get("TUNELAB_SANDBOX") == "required":
        pytest.fail(why)
    if why:
        pytest.skip(why)
