"""``tunelab show``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from tunelab.cli.options import RESULTS, STORE, Json, ResultsDir, StoreDir
from tunelab.cli.say import say
from tunelab.cli.tables import console, print_comparison
from tunelab.engine.folder import RECORD
from tunelab.errors import StudyError, UserError, nearest
from tunelab.files import read_json
from tunelab.report.tabular import WRITERS, Table, has_tables, read_tables
from tunelab.report.wording import counted
from tunelab.viewer.files import StoreFiles
from tunelab.viewer.runs import read_runs
from tunelab.viewer.states import FINISHED, counts, look


def command(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="Name of the study's folder.")] = None,
    as_json: Json = False,
    written: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help=f"Print one table as {', '.join(WRITERS)}.")
    ] = None,
    table: Annotated[
        str, typer.Option("--table", metavar="NAME", help="Which table of the report; with --format.")
    ] = "results",
    results: ResultsDir = RESULTS,
    store: StoreDir = STORE,
) -> None:
    """Example: tunelab show quickstart --format latex --table effects"""
    if written is not None and written not in WRITERS:
        raise UserError(f"--format: got {written!r}, expected a table's format{nearest(written, WRITERS)}")
    if written is not None and (as_json or study is None):
        raise UserError("--format: expected the name of a study, and not --json too; one table is printed at a time")
    known = {path.parent.name: path for path in sorted(results.glob("*/comparison.json"))}
    if study is None:
        _print_list(known, {} if as_json else _begun(store), as_json)
        return
    if study not in known and (begun := _begun(store).get(study)):
        raise StudyError(f"show: {study!r} has no results in {results} yet: {begun}")
    if study not in known:
        raise StudyError(f"show: {study!r} has no results in {results}{nearest(study, known)}; run it first")
    if written is not None:
        print(WRITERS[written](_table(results / study / "report", table)), end="")
        return
    comparison = read_json(known[study])
    if as_json:
        print(json.dumps(comparison, indent=1))
        return
    print_comparison(console(), comparison, *_first_sentences(results / study / "report", study))
    say(f"Report: {results / study / 'report' / 'index.html'}")


def _first_sentences(report: Path, study: str) -> tuple[str, str]:
    """Return a study's question and the answer that its report gives; its name alone where there is no report."""
    if not (report / RECORD).exists():
        return study, ""
    record = read_json(report / RECORD)
    return record["settings"]["study"]["question"], record["facts"]["answer"]


def _table(report: Path, name: str) -> Table:
    """Return a table of a report by its name. Raises StudyError where there is none."""
    if not has_tables(report):
        raise StudyError(f"show: {report} has no tables; make the report with tunelab report or tunelab run")
    tables = read_tables(report)
    if name not in tables:
        raise StudyError(f"--table: got {name!r}, expected a table of the report{nearest(name, tables)}")
    return tables[name]


def _begun(store: Path) -> dict[str, str]:
    """Say of every study that a store has notes of how far it is."""
    files = StoreFiles(store)
    runs, _ = read_runs(files)
    found: dict[str, str] = {}
    for name, run in runs.items():
        seen = look(run, files, runs.values())
        finished = sum(counts(seen)[state] for state in FINISHED)
        goes_on = "it is running" if run.alive else "the same tunelab run goes on with it"
        found[name] = (
            f"{finished} of {len(seen)} steps are finished in {store}; {goes_on}, "
            "and tunelab report STUDY.yaml shows what is there"
        )
    return found


def _print_list(known: dict[str, Path], begun: dict[str, str], as_json: bool) -> None:
    rows: list[dict[str, Any]] = []
    for name, path in known.items():
        comparison = read_json(path)
        rows.append({"study": name, "cells": len(comparison["cells"]), "holes": len(comparison["holes"])})
    if as_json:
        print(json.dumps(rows, indent=1))
    for row in rows if not as_json else []:
        say(f"{row['study']}: {counted(row['cells'], 'cell')}, {counted(row['holes'], 'hole')}")
    for name, how_far in begun.items():
        if name not in known:
            say(f"{name}: no results yet, {how_far}")
    if not rows and not begun and not as_json:
        say("No results yet. Try: tunelab run quickstart")
