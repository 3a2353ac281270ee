"""Properties are judged by their result, never by the speed of the machine; the tiny model is loaded once.

The same model behind a real server is started once, on loopback, by the test that first asks for it.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tunelab.formats.format import Format
from tunelab.formats.renderer import Renderer
from tunelab.models.load import load_model, load_tokenizer
from tunelab.models.spec import resolve


@pytest.fixture(scope="session")
def tiny():
    """The bundled model."""
    return load_model(resolve("tiny"), "cpu", "fp32")


@pytest.fixture(scope="session", params=["chat", "raw"])
def renderer(request):
    """The bundled tokenizer under each kind of format."""
    return Renderer(load_tokenizer(resolve("tiny")), Format(template=request.param))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The bundled model behind `transformers serve`, on a port of the system's choice: its URL."""
    home = tmp_path_factory.mktemp("hf")
    (home / "hub").mkdir()
    log = home / "serve.log"
    command = [Path(sys.executable).with_name("transformers"), "serve", resolve("tiny").location, "--device", "cpu"]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", "0"],
            env={**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"},
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        yield started(process, log)
    finally:
        process.terminate()
        process.wait(timeout=60)


def started(process, log):
    """Wait for the address that the server says it listens on."""
    while process.poll() is None:
        if found := re.search(r"running on (http://[\d.:]+)", log.read_text(encoding="utf-8")):
            return f"{found[1]}/v1"
        time.sleep(0.1)
    raise RuntimeError(f"transformers serve ended; install the dev dependencies: {log.read_text(encoding='utf-8')}")
