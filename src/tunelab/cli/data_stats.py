"""``tunelab data stats``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from tunelab.cli.data_source import Files, Source, choose_data
from tunelab.cli.options import RESULTS, Json, folder_only
from tunelab.cli.say import say
from tunelab.cli.tables import console
from tunelab.report.tabular import Table
from tunelab.report.wording import show
from tunelab.study.places import seen_from
from tunelab.study.preview import find_subject

NOT_IN_NAMES = re.compile(r"[^\w.-]+", re.ASCII)


def stats(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="TASK", help="A task's name, FILE.py:Class, or a study, whose first task and data count."
        ),
    ],
    splits: Annotated[
        list[str] | None,
        typer.Option(
            "--split", help="Repeatable. Default: the splits of --file, or of training and test what is there."
        ),
    ] = None,
    tokenizers: Annotated[
        list[str] | None,
        typer.Option("--tokenizer", help="tiny, a hub id, or a folder with a tokenizer; repeatable. Default: tiny."),
    ] = None,
    limits: Annotated[
        list[int] | None, typer.Option("--limit", min=1, help="Length; repeatable. Default: 256, 512 and 1024.")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by", metavar="NAME", help="Lengths by group too: split, or metadata like language; repeatable."
        ),
    ] = None,
    source: Source = None,
    files: Files = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", callback=folder_only, help="Default: results/data/TASK."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Count what a task's rows are like: columns, duplicates, distributions, lengths in characters and tokens.

    Writes stats.json, CSV files, figures and a page. Exits with 1 when the task refuses a row.

    Example: tunelab data stats mmmlu --split test_de --split test_fr --by language --limit 256
    """
    from tunelab.report.statistics import PAGE, write_statistics
    from tunelab.study.explore import LIMITS, Question, explore

    found = find_subject(subject)
    found = replace(found, data=choose_data(found, source, files or []))
    names = [seen_from(found.folder, "model", name) for name in tokenizers or ["tiny"]]
    asked = Question(splits or (), names, sorted({*(limits or LIMITS)}), by or ())
    result = explore(found, asked)
    directory = out or RESULTS / "data" / NOT_IN_NAMES.sub("-", result["task"])
    write_statistics(result, directory)
    if as_json:
        print(json.dumps(result, indent=1, ensure_ascii=False))
    else:
        _print(console(), result)
        say(directory / PAGE)
    if result["refused"]:
        sys.exit(1)


def _print(screen: Console, result: Mapping[str, Any]) -> None:
    """Print all tables that have rows, then what is wrong."""
    from tunelab.report.statistics import distributions, places_note, tables

    found = tables(result)
    for table in (found["splits"], found["columns"], found["duplicates"], *distributions(result)):
        _print_table(screen, table)
    if note := places_note(result):
        _print_table(screen, found["places"])
        screen.print(escape(note))
    _print_table(screen, found["lengths"])
    for split, why in result["absent"].items():
        screen.print(escape(f"{split}: not there: {why}"))
    for text, blank in result["blank"].items():
        if blank:
            screen.print(f"[red]blank:[/] {blank:,} {text}s have no words")
    for split, why in result["refused"].items():
        screen.print(f"[red]refused:[/] {escape(split)} was read up to a row that the task refuses: {escape(why)}")


def _print_table(screen: Console, table: Table) -> None:
    if not table.rows:
        return
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False)
    for column, value in zip(table.columns, table.rows[0], strict=True):
        grid.add_column(escape(column), justify="right" if isinstance(value, int | float) else "left")
    for row in table.rows:
        grid.add_row(*(escape(show(value)) for value in row))
    screen.print(f"[bold]{escape(table.caption)}[/]")
    screen.print(grid)
