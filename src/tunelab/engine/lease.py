"""Leases: which process is running a step now, so that processes sharing a store never run one twice.

A lease is a file that names its owner and is touched every few seconds. It is free to take when its owner is
known to be dead (same machine, process gone) or when nobody has touched it for ``STALE_SECONDS``. Ages are
measured against the file system's own clock, since machines that share a store may disagree about the time.
Taking over is decided under the store's lock, so that two takers cannot both win. An owner that lost its lease
(a laptop that slept) learns it from the next heartbeat, stops at its next sign of progress, and must not complete
the step.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunelab.files import write_json

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0


class Lease:
    """A held lease; release it, or let the process die."""

    def __init__(self, path: Path, token: str) -> None:
        self.lost = False
        """Whether a heartbeat has found that another process owns the step."""
        self._path = path
        self._token = token
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease-heartbeat", daemon=True)
        self._thread.start()

    def held(self) -> bool:
        """Say whether this process still owns the step."""
        return _read(self._path).get("token") == self._token

    def release(self) -> None:
        """Stop the heartbeat and let the step go, unless another process has it by now."""
        self._stop.set()
        self._thread.join()
        if self.held():
            self._path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):
                if not self.held():
                    self.lost = True
                    return
                os.utime(self._path)


def claim(path: Path) -> Lease | None:
    """Take the lease at ``path``, or return None when another living process holds it. Call under the store's lock."""
    if is_held(path):
        return None
    token = uuid.uuid4().hex
    write_json(path, {"token": token, **owner()})
    return Lease(path, token)


def is_held(path: Path) -> bool:
    """Say whether a living process holds the lease at ``path``."""
    return path.exists() and not _abandoned(path)


def owner(pid: int | None = None) -> dict[str, Any]:
    """Return what names this process, or another living one of this machine, among all that share a store."""
    pid = os.getpid() if pid is None else pid
    return {"place": _place(), "pid": pid, "born": _born(pid)}


def is_of(path: Path, named: Mapping[str, Any]) -> bool:
    """Say whether the lease at ``path`` was taken by the process that ``owner`` named, which may have died since."""
    return named.items() <= _read(path).items()


def lives(named: Mapping[str, Any]) -> bool | None:
    """Say whether the process that ``owner`` named is alive; None where it cannot be seen from here."""
    if named.get("place") != _place():
        return None
    return _born(named.get("pid", -1)) == named.get("born")


def looks_held(path: Path) -> bool:
    """Say what ``is_held`` says without writing beside the lease: ages go by this machine's own clock.

    For readers. Where machines disagree about the time it may be wrong, so nothing is claimed on it.
    """
    try:
        age = time.time() - path.stat().st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return False
    alive = lives(_read(path))
    return age <= STALE_SECONDS if alive is None else alive


def _abandoned(path: Path) -> bool:
    alive = lives(_read(path))
    return _age(path) > STALE_SECONDS if alive is None else not alive


def _age(path: Path) -> float:
    """Seconds since the last heartbeat, by the file system's clock."""
    probe = path.with_name(f".clock-{uuid.uuid4().hex}")
    probe.touch()
    try:
        return probe.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
    finally:
        probe.unlink()


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}


def _place() -> str:
    """Name the set of processes that can see each other's ids: host, boot and process namespace.

    Machines cloned from one image share their host name, never their boot.
    """
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    parts = [socket.gethostname()]
    if boot.exists() and namespace.exists():
        parts += [boot.read_text().strip(), str(namespace.readlink())]
    return ":".join(parts)


def _born(pid: int) -> str | None:
    """Return the start time of a process as the kernel counts it, or None when there is no such process.

    Process ids are reused; an id together with its start time is not.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return _alive_without_proc(pid)
    return None if fields[0] in "ZX" else fields[19]


def _alive_without_proc(pid: int) -> str | None:
    """The same on systems without /proc, where only the id itself can be asked for."""
    if Path("/proc/self/stat").exists() or pid <= 0:
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "alive"
