"""A hub, a study with results that are no smoke, and the command line as a user would run it against both."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from hub_server import TOKEN, Hub, serve

from preloaded import CommandLine

STUDY = {
    "study": "small",
    "question": "Does it help | or <b>not</b>?",
    "model": "tiny",
    "task": "arithmetic",
    "mismatch": "allow",
    "formats": {"chat": {"template": "chat"}, "raw": {"template": "raw"}},
    "recipe": {"method": "sft", "loss": "completion", "lr": 1e-4, "epochs": 1, "batch_size": 8, "rows": 24},
    "train": {
        "full": {"format": "chat", "adaptation": "full"},
        "adapter": {"format": "chat", "adaptation": "lora", "lora": {"rank": 2}, "loss": "all"},
    },
    "evaluation": {"rows": 20, "max_new_tokens": 16},
    "evaluate": {"chat": {"format": "chat"}, "raw": {"format": "raw"}},
}


@dataclass(frozen=True)
class Desk:
    """A folder with the study and its results, and a command line in it."""

    folder: Path
    environment: dict[str, str]
    command_line: CommandLine

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", "from tunelab.cli import main; main()", *arguments]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.command_line.run(*arguments, cwd=self.folder, env=self.environment | environment)

    def push(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run("push", "small.yaml", "--to", "me/small", *arguments, **environment)


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory, command_line: CommandLine) -> Path:
    """The folder in which the study has run and its data is prepared."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    offline = Desk(folder, {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}, command_line)
    for arguments in (("run", "small.yaml"), ("data", "prepare", "small.yaml", "train=full")):
        done = offline.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def hub():
    """An empty hub."""
    found, server = serve()
    yield found
    found.released.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def desk(results: Path, hub: Hub, tmp_path: Path, command_line: CommandLine) -> Desk:
    """The study's folder with a client that knows the hub and its token."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment |= {
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "140",
    }
    return Desk(results, environment, command_line)
