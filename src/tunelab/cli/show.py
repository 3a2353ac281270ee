"""``tunelab show``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from tunelab.cli.options import RESULTS, Json, ResultsDir
from tunelab.cli.say import say
from tunelab.cli.tables import console, print_comparison
from tunelab.errors import StudyError, nearest
from tunelab.files import read_json


def command(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="Name of the study's folder.")] = None,
    as_json: Json = False,
    results: ResultsDir = RESULTS,
) -> None:
    """Example: tunelab show quickstart"""
    known = {path.parent.name: path for path in sorted(results.glob("*/comparison.json"))}
    if study is None:
        _print_list(known, as_json)
        return
    if study not in known:
        raise StudyError(f"show: {study!r} has no results in {results}{nearest(study, known)}; run it first")
    comparison = read_json(known[study])
    if as_json:
        print(json.dumps(comparison, indent=1))
        return
    print_comparison(console(), comparison, study)
    say(f"Report: {results / study / 'report' / 'index.html'}")


def _print_list(known: dict[str, Path], as_json: bool) -> None:
    rows: list[dict[str, Any]] = []
    for name, path in known.items():
        comparison = read_json(path)
        rows.append({"study": name, "cells": len(comparison["cells"]), "holes": len(comparison["holes"])})
    if as_json:
        print(json.dumps(rows, indent=1))
    for row in rows if not as_json else []:
        say(f"{row['study']}: {row['cells']} cells, {row['holes']} holes")
    if not rows and not as_json:
        say("No results yet. Try: tunelab run quickstart")
