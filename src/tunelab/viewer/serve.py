"""The viewer's server: one loopback socket, one token, until Ctrl-C."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn

from tunelab.errors import UserError
from tunelab.viewer.app import guarded_app

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def serve(store: Path, host: str, port: int, allow_remote: bool, tell: Callable[[str, bool], None]) -> None:
    """Serve a store until interrupted; ``tell`` gets the one address, and whether other machines can reach it.

    Raises UserError for an address that cannot be listened on, or that others reach without ``allow_remote``.
    """
    address = _address(host)
    remote = not address.is_loopback
    if remote and not allow_remote:
        raise UserError(
            f"--host: got {host}, which other machines can reach, expected a loopback address; leave it out and use "
            "ssh -L, or add --allow-remote"
        )
    bound = _bind(address, port)
    port = bound.getsockname()[1]
    shown = f"[{address}]" if address.version == 6 else str(address)
    token = secrets.token_urlsafe(24)
    hosts = {f"{name}:{port}" for name in (shown, *(() if remote else LOOPBACK))}
    config = uvicorn.Config(
        guarded_app(store, token, hosts), log_level="warning", access_log=False, server_header=False, lifespan="off"
    )
    with bound, suppress(KeyboardInterrupt):
        _Server(config, lambda: tell(f"http://{shown}:{port}/{token}/", remote)).run(sockets=[bound])


class _Server(uvicorn.Server):
    """Says when it is ready to be asked, and to be interrupted."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        self._ready()


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise UserError(f"--host: got {host!r}, expected an address like 127.0.0.1") from None
    if address.is_unspecified:
        raise UserError(f"--host: got {host}, expected one address of this machine, which pages then are asked under")
    return address


def _bind(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> socket.socket:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((str(address), port))
    except (OSError, OverflowError) as error:
        made.close()
        why = getattr(error, "strerror", None) or str(error)
        raise UserError(f"--port: {address} port {port}: {why}; choose another, or 0 for a free one") from None
    made.listen(64)
    return made
