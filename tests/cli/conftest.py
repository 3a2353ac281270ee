import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from preloaded import CommandLine

Tunelab = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tunelab(tmp_path: Path, command_line: CommandLine) -> Tunelab:
    """Run the command line in a process of its own, in an empty folder, as a user would."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "140", **environment}
        return command_line.run(*arguments, cwd=tmp_path, env=variables)

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the quickstart has run at smoke size."""
    folder = tmp_path_factory.mktemp("finished")
    command = [sys.executable, "-c", "from tunelab.cli import main; main()", "run", "quickstart", "--smoke"]
    variables = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=folder, env=variables, check=True, capture_output=True)
    return folder
