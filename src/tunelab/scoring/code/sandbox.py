"""What keeps a candidate in: bubblewrap, or nothing where a study says so in as many words.

bubblewrap gives a program a file system of its own (the system's ``/usr``, read only, and a small temporary folder),
no network, no other processes and no environment; limits of the process hold the rest. Whether it works on this
machine is found out by running a program in it, never by looking for a file.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from tunelab.errors import StepError
from tunelab.scoring.code import candidate

Choice = Literal["bubblewrap", "none"]
PYTHON = "/usr/bin/python3"
"""The system's interpreter: an unprivileged user cannot read a virtual environment in somebody's home."""
NOBODY = "65534"
PROBE_SECONDS = 60.0
ACCEPT = "or accept the risk with `code: {sandbox: none}` in the study"
INSTALL = f"install bubblewrap (apt-get install bubblewrap), {ACCEPT}"
MEND = f"let it make user namespaces here, or use another machine, {ACCEPT}"
ENVIRONMENT = {"PYTHONHASHSEED": "0"}
"""All that a candidate's environment holds: sets go through their members in one order, in every run."""


@dataclass(frozen=True)
class Limits:
    """What one program may use. Sizes are in bytes, times in seconds."""

    cpu: int = 1
    wall: float = 5.0
    memory: int = 512 * 2**20
    processes: int = 8
    """Processes and threads together, bubblewrap's own among them."""
    file: int = 4 * 2**20
    folder: int = 16 * 2**20
    """What the private temporary folder holds."""


@dataclass(frozen=True)
class Sandbox:
    """How a program is kept in, and within which limits."""

    choice: Choice = "bubblewrap"
    limits: Limits = field(default_factory=Limits)

    def command(self) -> list[str]:
        """Return the command that starts one sandbox with the candidate's side waiting in it."""
        source = Path(candidate.__file__).read_text(encoding="utf-8")
        limits = {name: value for name, value in asdict(self.limits).items() if isinstance(value, int)}
        if self.choice == "none":
            return [sys.executable, "-s", "-S", "-B", "-c", source, json.dumps(limits)]
        return [*self.walls(), PYTHON, "-s", "-S", "-B", "-c", source, json.dumps(limits)]

    def walls(self) -> list[str]:
        """Return the command that runs another one within the sandbox."""
        return [*_as_nobody(), "bwrap", *WALLS, *_folders(), *self._own_folder(), *SEALED]

    def _own_folder(self) -> list[str]:
        return ["--size", str(self.limits.folder), "--perms", "0700", "--tmpfs", "/tmp", "--chdir", "/tmp"]


WALLS = (
    *("--unshare-user", "--unshare-all", "--disable-userns"),
    *("--die-with-parent", "--new-session", "--clearenv"),
    *(word for name, value in ENVIRONMENT.items() for word in ("--setenv", name, value)),
    *("--proc", "/proc", "--dev", "/dev"),
)
SEALED = ("--remount-ro", "/dev", "--remount-ro", "/proc", "--remount-ro", "/")


def _as_nobody() -> list[str]:
    """Leave the rights of root behind: limits on the number of processes do not bind it."""
    return ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"] if os.geteuid() == 0 else []


def _folders() -> list[str]:
    """Return what a program sees of the machine: the system's programs and libraries, read only."""
    found = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "lib", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            found += ["--symlink", f"usr/{name}", f"/{name}"]
        elif path.is_dir():
            found += ["--ro-bind", f"/{name}", f"/{name}"]
    return found


def refusal(choice: Choice) -> str | None:
    """Return why candidates cannot be run like that on this machine, in one line; None where they can."""
    return None if choice == "none" else _refusal()


@cache
def _refusal() -> str | None:
    programs = ["bwrap", *(["setpriv"] if os.geteuid() == 0 else []), PYTHON]
    if absent := [program for program in programs if shutil.which(program) is None]:
        return f"code sandbox: {', '.join(absent)} not found, expected it to run the code of models safely; {INSTALL}"
    try:
        return _probed([*Sandbox().walls(), PYTHON, "-s", "-S", "-c", PROBE, *NAMESPACES])
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"code sandbox: {error}; {INSTALL}"


PROBE = """
import os, sys
assert sys.version_info >= (3, 10), "/usr/bin/python3 is older than 3.10"
assert not os.path.exists("/etc/passwd"), "the host's files are visible"
assert len([name for name in os.listdir("/proc") if name.isdigit()]) <= 3, "other processes are visible"
assert set(os.environ) <= {"PYTHONHASHSEED", "PWD", "LC_CTYPE"}, "the environment is visible"
assert os.getuid() != 0, "it runs as root"
for path in ("/x", "/usr/x", "/dev/x", "/dev/shm/x"):
    try:
        open(path, "w")
    except OSError:
        continue
    raise AssertionError(path + " can be written")
print(*(os.readlink("/proc/self/ns/" + name) for name in sys.argv[1:]))
"""
NAMESPACES = ("ipc", "mnt", "net", "pid", "user", "uts")
"""What a sandbox must have of its own, as the kernel calls it."""


def _probed(command: Sequence[str]) -> str | None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PROBE_SECONDS)
    shared = {str(Path(f"/proc/self/ns/{name}").readlink()) for name in NAMESPACES} & set(done.stdout.split())
    if done.returncode == 0 and not shared:
        return None
    why = (done.stderr.strip().splitlines() or [f"it shares {', '.join(sorted(shared))} with the machine"])[-1]
    return f"code sandbox: bubblewrap does not work here ({why}); {MEND}"


def require(choice: Choice) -> None:
    """Raise StepError where candidates cannot be run like that."""
    if why := refusal(choice):
        raise StepError(why)
