"""Leases: which process is running a step now, so that processes sharing a store never run one twice.

A lease is a file that names its owner and is touched every few seconds. It is free to take when its owner is
known to be dead (same machine, process gone) or when nobody has touched it for ``STALE_SECONDS``. Ages are
measured against the file system's own clock, since machines that share a store may disagree about the time.
Taking over is decided under a lock file, so that two takers cannot both win. An owner that lost its lease
(a laptop that slept) learns it when it completes the step, and must not complete it.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import uuid
from pathlib import Path
from typing import Any

from filelock import FileLock

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0


class Lease:
    """A held lease; release it, or let the process die."""

    def __init__(self, path: Path, token: str) -> None:
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
            if not self.held():
                return
            os.utime(self._path)


def claim(path: Path, lock: Path) -> Lease | None:
    """Take the lease at ``path``, or return None when another living process holds it.

    ``lock`` is a file on the same file system that guards the decision; it is held for milliseconds.
    """
    with FileLock(lock):
        if path.exists() and not _abandoned(path):
            return None
        token = uuid.uuid4().hex
        path.write_text(json.dumps({"token": token, "place": _place(), "pid": os.getpid(), "born": _born(os.getpid())}))
        return Lease(path, token)


def is_held(path: Path) -> bool:
    """Say whether a living process holds the lease at ``path``."""
    return path.exists() and not _abandoned(path)


def _abandoned(path: Path) -> bool:
    owner = _read(path)
    if owner.get("place") == _place():
        return _born(owner.get("pid", -1)) != owner.get("born")
    return _age(path) > STALE_SECONDS


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
    """Name the set of processes that can see each other's ids: host plus process namespace."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}:{namespace.readlink() if namespace.exists() else ''}"


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
