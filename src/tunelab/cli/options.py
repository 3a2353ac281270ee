"""Options that several verbs share, written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunelab.errors import UserError


def folder_only(path: Path | None) -> Path | None:
    """Refuse a file, or a place below one, before anything is computed for it; None is left to the verb."""
    if path is None:
        return None
    exists = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not exists.is_dir():
        raise UserError(f"{path}: {exists} is a file, expected a folder; choose another place")
    return path


StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A bundled study's name or a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", help="Overrides: recipe.lr=1e-4, train=sft_*, train.sft_*.lr=1e-4, model=..."
    ),
]
StoreDir = Annotated[
    Path, typer.Option("--store", metavar="DIR", callback=folder_only, help="Where finished steps are kept.")
]
ResultsDir = Annotated[
    Path, typer.Option("--results", metavar="DIR", callback=folder_only, help="Where results are linked by name.")
]
Skip = Annotated[
    list[str] | None,
    typer.Option("--skip", metavar="SECTION.NAME", help="Leave an entry out: evaluate.ailuminate, 'train.sft_*'."),
]
Force = Annotated[
    list[str] | None,
    typer.Option("--force", metavar="GLOB", help="Run these steps again, though finished: 'generate/simple-*'."),
]
Smoke = Annotated[bool, typer.Option("--smoke", help="The bundled tiny model, few rows, few steps, no network.")]
SmokeEndpoint = Annotated[
    bool,
    typer.Option(
        "--smoke-endpoint", help="--smoke, with the tiny model behind a server on loopback for endpoint models."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Gate = Annotated[bool, typer.Option("--gate", help="Exit with 3 when a threshold (at_least) is not met.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors and the end.")]

STORE = Path(".tunelab")
RESULTS = Path("results")
