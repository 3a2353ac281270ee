"""``tunelab rescore``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tunelab.cli.say import say
from tunelab.cli.tables import console, print_comparison, wrong_denominators
from tunelab.files import read_json
from tunelab.study.rescore import rescore


def command(
    bundle: Annotated[Path, typer.Argument(metavar="FILE.zip", help="A bundle that `tunelab export` wrote.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where comparison and tables are written.")] = Path(
        "rescored"
    ),
    task_file: Annotated[
        Path | None,
        typer.Option(
            "--task-file", metavar="FILE.py", exists=True, help="Use instead of the bundle's file of that name."
        ),
    ] = None,
) -> None:
    """Example: tunelab rescore quickstart.zip --out rescored"""
    found = rescore(bundle, out, task_file)
    comparison = read_json(out / "comparison.json")
    print_comparison(console(), comparison, found.study)
    for cell, count in found.differing.items():
        if count:
            say(f"{cell}: {count} of {found.answers[cell]} verdicts differ from the recorded ones")
    for cell in found.other_scorers:
        say(f"{cell}: the installed scorer is not the one that was recorded")
    if not found.same_comparison:
        say("comparison.json differs from the recorded one")
    if found.same:
        total = sum(found.answers.values())
        say(f"{total} answers scored again: all {len(found.answers)} sets of verdicts and the comparison are the same")
    say(f"Written: {out}")
    sys.exit(0 if found.same and not wrong_denominators(comparison) else 1)
