"""``tunelab view``."""

from __future__ import annotations

import importlib
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from tunelab.cli.options import STORE, StoreDir
from tunelab.errors import UserError

NEEDED = ("starlette", "uvicorn")


def command(
    store: StoreDir = STORE,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 picks a free one.")] = 0,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = False,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let --host be an address that other machines reach, unencrypted.")
    ] = False,
) -> None:
    """Reads the store and never writes to it. The address is for you alone: who has it can see everything there."""
    for name in NEEDED:
        _require(name)
    if not store.exists():
        raise UserError(
            f"--store: got {store}, which is not there, expected a store; run a study first, or name its folder"
        )
    from tunelab.viewer.serve import serve

    def tell(address: str, remote: bool) -> None:
        if remote:
            print(f"tunelab: WARNING: other machines can reach {host}, and nothing is encrypted", file=sys.stderr)
        print(address, flush=True)
        if open_browser:
            webbrowser.open(address)

    serve(Path(store), host, port, allow_remote, tell)


def _require(name: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise UserError(f"view: needs {name}, which is not installed; pip install 'tunelab[viewer]'") from None
