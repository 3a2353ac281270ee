"""Runs command lines in processes forked from one that has imported the large libraries, most of what a start takes.

Only libraries of others are imported ahead, and none that reads the environment of the command: tunelab's own modules,
transformers, trl and the hub's client are imported anew by every command, in the order in which the command asks for
them. The server reads one request a line, answers with the exit code, and ends with its standard input.
"""

import gc
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

LIBRARIES = ("torch", "torch._inductor.lowering", "scipy.stats", "statsmodels.api", "pandas", "matplotlib.pyplot")
COMMAND = "from tunelab.cli import main; main()"


class CommandLine:
    """Runs programs one after the other; ``close`` ends the process that they are forked from."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.server = subprocess.Popen([sys.executable, __file__], env=environment, **pipes)

    def run(
        self, *arguments: str, cwd: Path, env: Mapping[str, str], program: str = COMMAND
    ) -> subprocess.CompletedProcess[str]:
        """Run ``python -c program arguments`` in ``cwd`` with nothing but ``env`` in its environment."""
        with TemporaryDirectory() as folder:
            out, error = Path(folder, "out"), Path(folder, "error")
            out.touch()
            error.touch()
            request = {"program": program, "arguments": ["-c", *arguments], "cwd": str(cwd), "env": dict(env)}
            self.server.stdin.write(json.dumps(request | {"out": str(out), "error": str(error)}) + "\n")
            self.server.stdin.flush()
            code = int(self.server.stdout.readline())
            texts = out.read_text(encoding="utf-8"), error.read_text(encoding="utf-8")
        return subprocess.CompletedProcess(arguments, code, *texts)

    def close(self) -> None:
        self.server.communicate()


def serve() -> None:
    """Answer requests until there are no more. In a fork it runs the program, whose end is the end of the process."""
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            request = json.loads(line)
            become(request)
            exec(request["program"], {"__name__": "__main__"})
            return
        status = os.waitpid(child, 0)[1]
        print(os.waitstatus_to_exitcode(status), flush=True)


def become(request: dict[str, Any]) -> None:
    """Take the files, the folder, the environment and the arguments of the process that was asked for."""
    files = os.open(os.devnull, os.O_RDONLY), *(os.open(request[name], os.O_WRONLY) for name in ("out", "error"))
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = request["arguments"]
    sys.path[0] = ""


if __name__ == "__main__":
    serve()
