"""``tunelab export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunelab.cli.options import STORE, Overrides, Smoke, StoreDir, StudyName
from tunelab.cli.progress import QuietReporter
from tunelab.cli.say import say
from tunelab.engine.runner import Runner
from tunelab.study.bundle import refuse_unfinished, write_bundle
from tunelab.study.open import only_finished, open_study


def command(
    study: StudyName,
    out: Annotated[Path, typer.Argument(metavar="FILE.zip", help="The bundle to write.")],
    overrides: Overrides = None,
    smoke: Smoke = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Export what is finished; cells without a result are holes.")
    ] = False,
    store: StoreDir = STORE,
) -> None:
    """Example: tunelab export quickstart quickstart.zip"""
    opened = open_study(study, overrides or [], store, smoke)
    if partial:
        opened = only_finished(opened)
    else:
        refuse_unfinished(opened)
    outcome = Runner(opened.store, QuietReporter()).run(opened.targets())
    files = write_bundle(opened, outcome, out)
    say(f"Bundle: {out} ({files} files, {out.stat().st_size:,} bytes)")
