"""``tunelab push``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from tunelab.cli.interrupt import hear_interrupts
from tunelab.cli.options import RESULTS, STORE, ResultsDir, Smoke, StoreDir, StudyName
from tunelab.cli.say import say, warn
from tunelab.cli.tables import console
from tunelab.publish.hub import connect, send
from tunelab.publish.uploads import Upload, plan_data, plan_models, refuse_smoke
from tunelab.report.wording import counted
from tunelab.study.cells import file_name
from tunelab.study.open import open_study

INTERRUPTED = 130


def command(
    study: StudyName,
    variants: Annotated[
        list[str] | None, typer.Argument(metavar="[VARIANT]...", help="Trained variants. Default: all of the study.")
    ] = None,
    *,
    to: Annotated[
        str, typer.Option("--to", metavar="OWNER/NAME", help="Each variant goes to OWNER/NAME-VARIANT; or {variant}.")
    ],
    data: Annotated[bool, typer.Option("--data", help="Also the tokenised training rows, as data sets.")] = False,
    public: Annotated[bool, typer.Option("--public", help="Make new repositories public. Default: private.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would go and write the cards; no token, no network.")
    ] = False,
    override: Annotated[list[str] | None, typer.Option("--set", help="Override of the study: key=value.")] = None,
    smoke: Smoke = False,
    smoke_anyway: Annotated[
        bool, typer.Option("--smoke-anyway", help="Push results of a smoke run, with cards that say so.")
    ] = False,
    store: StoreDir = STORE,
    results: ResultsDir = RESULTS,
) -> None:
    """Example: tunelab push quickstart sft_chat --to me/quickstart --dry-run"""
    opened = open_study(study, override or [], store, smoke)
    if not smoke_anyway:
        refuse_smoke(opened)
    uploads = plan_models(opened, variants or [], to)
    if data:
        uploads += plan_data(opened, variants or [], to)
    write_cards(uploads, results / opened.name / "cards")
    if dry_run:
        list_uploads(uploads)
        return
    hear_interrupts()
    try:
        push(uploads, public)
    except KeyboardInterrupt:
        warn("tunelab: interrupted; push again: what has arrived is not sent twice")
        sys.exit(INTERRUPTED)


def push(uploads: Sequence[Upload], public: bool) -> None:
    """Send one repository after the other, and name each when the hub has it."""
    api = connect()
    for upload in uploads:
        sent = send(api, upload, public)
        state = "pushed" if sent.changed else "up to date"
        say(f"{state}: {sent.url} ({'private' if sent.private else 'public'} {upload.kind})")


def write_cards(uploads: Sequence[Upload], folder: Path) -> None:
    """Write the cards where a person can read them before and after a push."""
    folder.mkdir(parents=True, exist_ok=True)
    for upload in uploads:
        suffix = "" if upload.kind == "model" else "-data"
        path = folder / f"{file_name(upload.variant)}{suffix}.md"
        path.write_text(upload.card, encoding="utf-8")
        say(f"card: {path}")


def list_uploads(uploads: Sequence[Upload]) -> None:
    """Print every repository, file and size."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("repository", "kind", "file", "bytes"):
        table.add_column(name, justify="right" if name == "bytes" else "left", no_wrap=True)
    for upload in uploads:
        for name, size in upload.sizes().items():
            table.add_row(escape(upload.repo), upload.kind, escape(name), f"{size:,}")
    console().print(table)
    total = sum(size for upload in uploads for size in upload.sizes().values())
    say(f"{counted(len(uploads), 'repository', 'repositories')}, {total:,} bytes; nothing was sent")
