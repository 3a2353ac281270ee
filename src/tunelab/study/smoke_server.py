"""The bundled model behind a real server on this machine, for the time of a smoke run.

``transformers serve`` is started on a port of the system's choice and ended by its process id. It sees no model but
the bundled one: it starts in a folder with a link to that, its hub cache is an empty folder, whatever the environment
names, and it may not go to the network. So the model has the same name on it wherever tunelab is installed.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from tunelab.canonical import canonical
from tunelab.errors import StepError, StudyError
from tunelab.models.spec import TINY, resolve

MODEL = TINY
"""The bundled model's name on its server."""
NOT_STARTED = "http://127.0.0.1/v1"
"""Stands for the address while nothing is asked: it is no part of an identity."""
NEEDED = ("fastapi", "uvicorn")
CACHES = (
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_ASSETS_CACHE",
    "HUGGINGFACE_ASSETS_CACHE",
    "HF_MODULES_CACHE",
    "HF_XET_CACHE",
    "TRANSFORMERS_CACHE",
)
"""Variables that name a cache before HF_HOME does, in some release of the libraries."""
START_SECONDS = 300
END_SECONDS = 30


@contextmanager
def serving() -> Generator[str]:
    """Give the base URL of the bundled model's server; it ends with the block.

    Raises StudyError where the serving extra is not installed, and StepError where the server does not start.
    """
    if lacking := [name for name in NEEDED if find_spec(name) is None]:
        raise StudyError(
            f"--smoke-endpoint: {lacking[0]} is not installed, expected what `transformers serve` needs; "
            "do pip install 'tunelab[serving]'"
        )
    with TemporaryDirectory(prefix="tunelab-serve-") as folder:
        (Path(folder) / "hub").mkdir()
        (Path(folder) / MODEL).symlink_to(resolve(TINY).location)
        log = Path(folder) / "serve.log"
        with log.open("wb") as sink:
            process = _start(Path(folder), sink.fileno())
        try:
            yield _address(process, log)
        finally:
            _end(process)


def identity() -> str:
    """Return what identifies the server, whose port is another one in each run: the content of what it serves."""
    return f"transformers serve {MODEL} {hashlib.sha256(canonical(resolve(TINY).identity).encode()).hexdigest()[:16]}"


def isolated(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the environment of a process whose caches are all below ``folder`` and that stays off the network."""
    own = {"HF_HOME": str(folder), "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    return {name: value for name, value in environment.items() if name not in CACHES} | own


def _start(folder: Path, log: int) -> subprocess.Popen[bytes]:
    served = ["serve", MODEL, "--device", "cpu", "--host", "127.0.0.1", "--port", "0"]
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("transformers")), *served],
        cwd=folder,
        env=isolated(os.environ, folder),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait for the address that the server says it listens on."""
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        if found := re.search(r"running on (http://[\d.:]+)", log.read_text(encoding="utf-8", errors="replace")):
            return f"{found[1]}/v1"
        time.sleep(0.1)
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise StepError(f"transformers serve: got no server ({said[-1] if said else 'it said nothing'}), expected one")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
