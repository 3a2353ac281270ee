"""Options that several verbs share, written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A bundled study's name or a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", help="Overrides: recipe.lr=1e-4, train=sft_*, train.sft_*.lr=1e-4, model=..."
    ),
]
StoreDir = Annotated[Path, typer.Option("--store", metavar="DIR", help="Where finished steps are kept.")]
ResultsDir = Annotated[Path, typer.Option("--results", metavar="DIR", help="Where results are linked by name.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="The bundled tiny model, few rows, few steps, no network.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors and the end.")]

STORE = Path(".tunelab")
RESULTS = Path("results")
