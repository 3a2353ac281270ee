"""``tunelab reproduce``: a run in which nothing is trained."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tunelab.cli.options import (
    RESULTS,
    STORE,
    Gate,
    Json,
    Overrides,
    Quiet,
    ResultsDir,
    Skip,
    Smoke,
    StoreDir,
    StudyName,
)
from tunelab.cli.run import run_opened
from tunelab.cli.say import warn
from tunelab.engine.supervisor import supervised
from tunelab.study.open import open_study
from tunelab.study.reproduce import reproduction


def command(
    study: StudyName,
    overrides: Overrides = None,
    adapters: Annotated[
        Path | None,
        typer.Option(
            "--adapters", metavar="DIR", help="Take DIR/VARIANT where it is there, like results/STUDY/models."
        ),
    ] = None,
    smoke: Smoke = False,
    skip: Skip = None,
    gate: Gate = False,
    quiet: Quiet = False,
    as_json: Json = False,
    store: StoreDir = STORE,
    results: ResultsDir = RESULTS,
) -> None:
    """Example: tunelab reproduce quickstart --adapters results/quickstart/models"""

    def work(since: float | None) -> int:
        found = reproduction(study, overrides or [], adapters)
        if found.left_out:
            warn(f"tunelab: no weights are known of, so left out: {', '.join(found.left_out)}")
        opened = open_study(study, found.overrides, store, smoke, skip or [])
        for name, step in opened.compiled.train.items():
            checkpoint = step.circumstance.get("checkpoint")
            source = (
                f"adopted from {checkpoint['name']}"
                if checkpoint
                else "trained: a smoke run takes nothing from the hub"
            )
            warn(f"tunelab: {name} is {source}")
        return run_opened(opened, gate=gate, quiet=quiet, as_json=as_json, results=results, since=since)

    sys.exit(supervised(work, store))
