"""A task's statistics for people: tables, CSV files, figures and one page, all made from ``stats.json`` alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunelab.files import to_csv, write_atomic, write_json
from tunelab.report.drawing import save
from tunelab.report.page import embedded, environment
from tunelab.report.statistics_figures import draw, largest, only_largest
from tunelab.report.tabular import Table
from tunelab.report.wording import p_value

Stats = Mapping[str, Any]
STATS, PAGE = "stats.json", "index.html"
MOST = 20
"""Values of a distribution that a person is shown at first; the CSV file has all."""
LENGTHS = ("rows", "mean", "min", "median", "p90", "p95", "p99", "max")


def write_statistics(stats: Stats, directory: Path) -> None:
    """Write ``stats.json``, a CSV file a table, each figure as .png and .svg, and ``index.html``."""
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / STATS, stats)
    for name, table in whole_tables(stats).items():
        write_atomic(directory / f"{name}.csv", _csv(table))
    pictures = draw(stats)
    for picture in pictures:
        save(picture, directory)
    figures = [(picture, embedded(picture, directory)) for picture in pictures]
    page = (
        environment()
        .get_template("statistics.html.j2")
        .render(
            stats=stats,
            figures=figures,
            tables={**tables(stats), "lengths": _shown_lengths(stats)},
            distributions=distributions(stats),
            all_distributions=_all_distributions(stats),
            places_note=places_note(stats),
            sources=json.dumps({name: stats[name] for name in ("splits", "tokenizers")}, indent=1, ensure_ascii=False),
        )
    )
    write_atomic(directory / PAGE, page)


def tables(stats: Stats) -> dict[str, Table]:
    """Return the tables other than distributions by the name of their file; one without rows does not apply."""
    return {
        "splits": _splits(stats),
        "columns": _columns(stats),
        "duplicates": _duplicates(stats),
        "places": _places(stats),
        "lengths": _lengths(stats),
    }


def whole_tables(stats: Stats) -> dict[str, Table]:
    """Return every table that has rows, with all values of all distributions, by the name of its file."""
    found = {**tables(stats), "distributions": _all_distributions(stats)}
    return {name: table for name, table in found.items() if table.rows}


def distributions(stats: Stats, most: int | None = MOST) -> list[Table]:
    """Return a table for each distribution, of its most frequent values."""
    found: list[Table] = []
    for name, values in stats["distributions"].items():
        shown = values[:most]
        caption = name if len(shown) == len(values) else f"{name}: the first {len(shown)} of {len(values)} values"
        rows = [(line["value"], line["rows"], line["share"]) for line in shown]
        found.append(Table(caption, (name, "rows", "share"), rows))
    return found


def places_note(stats: Stats) -> str:
    """Say how surely the right answer prefers some places among the choices; empty where there are no choices."""
    if stats["places"] is None:
        return ""
    test = stats["places"]["test"]
    if test["p"] is None:
        return f"{test['questions']:,} questions are too few to test whether every place is equally likely"
    return (
        f"every place equally likely: chi-square = {test['chi2']:.1f}, {test['df']} degrees of freedom, "
        f"p {_equals(p_value(test['p']))}, {test['questions']:,} questions, each cluster of translations once"
    )


def _equals(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def _splits(stats: Stats) -> Table:
    rows = [(line["split"], line["rows"], line["samples"]) for line in stats["splits"]]
    return Table("Rows of the source, and samples that the task makes of them", ("split", "rows", "samples"), rows)


def _columns(stats: Stats) -> Table:
    rows = [
        (line["column"], _types(line["types"]), line["nulls"], line["empty"], line["absent"])
        for line in stats["columns"]
    ]
    return Table(
        "Columns: values that are null, empty, or not there", ("column", "types", "null", "empty", "absent"), rows
    )


def _types(types: Mapping[str, int]) -> str:
    """Name the types; where there are several, with their counts."""
    return next(iter(types), "") if len(types) < 2 else ", ".join(f"{name} {n:,}" for name, n in types.items())


def _duplicates(stats: Stats) -> Table:
    caption = "Samples that ask exactly what an earlier one asks, and questions with more than one answer"
    if stats["rows"] is not None:
        repeated, rows = stats["rows"]["repeated"], stats["rows"]["rows"]
        caption += f"; {repeated:,} of the source's {rows:,} rows repeat an earlier one in every column"
    columns = ("split", "samples", "repeated_questions", "answered_differently")
    rows = [[line[name] for name in columns] for line in stats["repeats"]]
    return Table(caption, [name.replace("_", " ") for name in columns], rows)


def _places(stats: Stats) -> Table:
    lines = stats["places"]["places"] if stats["places"] else []
    total = sum(line["questions"] for line in lines)
    rows = [
        (str(line["place"]), line["questions"], line["questions"] / total, line["expected"] / total) for line in lines
    ]
    return Table("Place of the right answer among the choices", ("place", "questions", "share", "by chance"), rows)


def _lengths(stats: Stats) -> Table:
    """A line a text, unit and group; the last columns are the shares of rows that a limit does not cut."""
    limits = [str(limit) for limit in stats["limits"]]
    columns = ("text", "unit", "by", "group", *LENGTHS, *(f"≤ {limit}" for limit in limits))
    rows = [
        (
            *(line[name] for name in ("text", "unit", "by", "group")),
            *(line[name] for name in LENGTHS),
            *(line["within"][limit] for limit in limits),
        )
        for line in stats["lengths"]
    ]
    return Table("Lengths of prompts, without template, and of targets, and the share within limits", columns, rows)


def _shown_lengths(stats: Stats) -> Table:
    """The lengths that the page shows: those of all rows and of the largest groups."""
    shown = _lengths({**stats, "lengths": largest(stats["lengths"])})
    less = only_largest(stats["lengths"])
    return replace(shown, caption=f"{shown.caption}. {less}") if less else shown


def _all_distributions(stats: Stats) -> Table:
    rows = [
        (name, line["value"], line["rows"], line["share"])
        for name, values in stats["distributions"].items()
        for line in values
    ]
    return Table("Every value of every distribution", ("name", "value", "rows", "share"), rows)


def _csv(table: Table) -> str:
    return to_csv([dict(zip(table.columns, row, strict=True)) for row in table.rows])
