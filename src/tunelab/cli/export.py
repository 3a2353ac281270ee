"""``tunelab export``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tunelab.cli.options import STORE, Overrides, Smoke, StoreDir, StudyName
from tunelab.cli.progress import QuietReporter
from tunelab.cli.say import say
from tunelab.engine.runner import Runner
from tunelab.errors import UserError
from tunelab.publish.finished import finished
from tunelab.publish.inspect_log import write_inspect
from tunelab.publish.lm_eval import write_lm_eval
from tunelab.study.bundle import refuse_unfinished, write_bundle
from tunelab.study.open import Opened, only_finished, open_study


class Format(StrEnum):
    """What is written."""

    BUNDLE = "bundle"
    LM_EVAL = "lm-eval"
    INSPECT = "inspect"


LOGS = {Format.LM_EVAL: write_lm_eval, Format.INSPECT: write_inspect}


def command(
    study: StudyName,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The bundle to write, FILE.zip; a folder for logs.")],
    overrides: Overrides = None,
    smoke: Smoke = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Export what is finished; cells without a result are holes.")
    ] = False,
    kind: Annotated[
        Format,
        typer.Option(
            "--format",
            help="bundle: for `tunelab rescore`; lm-eval: lm-evaluation-harness's results and samples; inspect: "
            "Inspect AI's logs.",
        ),
    ] = Format.BUNDLE,
    store: StoreDir = STORE,
) -> None:
    """Example: tunelab export quickstart quickstart.zip; tunelab export quickstart logs --format inspect"""
    opened = open_study(study, overrides or [], store, smoke)
    if not partial:
        refuse_unfinished(opened)
    if kind is Format.BUNDLE:
        _bundle(only_finished(opened) if partial else opened, out)
    else:
        _logs(opened, out, kind)


def _bundle(opened: Opened, out: Path) -> None:
    outcome = Runner(opened.store, QuietReporter()).run(opened.targets())
    files = write_bundle(opened, outcome, out)
    say(f"Bundle: {out} ({files} files, {out.stat().st_size:,} bytes)")


def _logs(opened: Opened, out: Path, kind: Format) -> None:
    """Write logs into a folder that has none of another export, which would pass for this one's."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: is there already, expected a new or an empty folder; choose another")
    files = LOGS[kind](finished(opened), out)
    say(f"{kind}: {out} ({len(files)} files)")
