import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from viewer_client import Viewer
from viewer_steps import run

from browsing import collect_problems

Serve = Callable[..., Viewer]
COMMAND = [sys.executable, "-c", "from tunelab.cli import main; main()"]


@pytest.fixture(scope="session")
def serve() -> Iterator[Serve]:
    """Start ``tunelab view`` on a store, in a process of its own; it ends with the session, by Ctrl-C."""
    started: list[subprocess.Popen[str]] = []

    def start(store: Path, *options: str) -> Viewer:
        command = [*COMMAND, "view", "--store", str(store), *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
        started.append(process)
        assert process.stdout is not None
        return Viewer(process.stdout.readline().strip(), process)

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    for process in started:
        process.communicate(timeout=20)
    assert [process.returncode for process in started] == [0] * len(started)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store on which the small study has run."""
    store = tmp_path_factory.mktemp("finished") / "store"
    assert run(store).ok
    return store


@pytest.fixture(scope="session")
def over_finished(serve: Serve, finished: Path) -> Viewer:
    """A viewer over that store."""
    return serve(finished)


@pytest.fixture
def page(browser):
    """A fresh page; whatever it does wrong fails the test."""
    context = browser.new_context()
    made = context.new_page()
    problems = collect_problems(made, "http://127.0.0.1:")
    yield made
    context.close()
    assert problems == []
