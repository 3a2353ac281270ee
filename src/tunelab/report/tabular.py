"""A table as one value, and all that it is written as: CSV, Markdown, LaTeX and JSON.

A table holds plain values. In CSV and JSON numbers keep every digit and what is missing is empty; Markdown and LaTeX
show them as the page does. Texts are data everywhere.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tunelab.files import read_json, write_atomic, write_json
from tunelab.report.escaping import latex, markdown, no_formula
from tunelab.report.wording import show

FOLDER, ALL = "tables", "tables.json"


@dataclass(frozen=True)
class Table:
    """Rows under columns; the first field of a row is its header."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]] = field(default_factory=list[Sequence[Any]])
    name: str = ""
    """What its files are called; empty where it has none."""

    @cached_property
    def numeric(self) -> list[bool]:
        """Say of each column whether all that stands in it are numbers."""
        values = [[row[i] for row in self.rows if row[i] is not None] for i in range(len(self.columns))]
        return [bool(found) and all(map(_is_number, found)) for found in values]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def to_csv(table: Table) -> str:
    """Write a header and the rows; what a spreadsheet would take for a formula begins with an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (table.columns, *table.rows):
        writer.writerow([no_formula(value) if isinstance(value, str) else value for value in row])
    return text.getvalue()


def to_markdown(table: Table) -> str:
    """Write a table as GitHub's Markdown has it, without its caption."""
    under = ["---:" if numeric else "---" for numeric in table.numeric]
    rows = [[markdown(show(value)) for value in row] for row in (table.columns, *table.rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (rows[0], under, *rows[1:]))


def to_latex(table: Table) -> str:
    r"""Write a ``table`` with its caption and label; the preamble needs ``\usepackage{booktabs}``."""
    alignment = "".join("r" if numeric else "l" for numeric in table.numeric)
    head, *rows = [_latex_row(row) for row in (table.columns, *table.rows)]
    lines = [
        r"\begin{table}", r"\centering", rf"\caption{{{latex(table.caption)}}}",
        *([rf"\label{{tab:{table.name}}}"] if table.name else []),
        rf"\begin{{tabular}}{{{alignment}}}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule",
        r"\end{tabular}", r"\end{table}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _latex_row(row: Sequence[Any]) -> str:
    """Write a row. After a row's end LaTeX takes ``[`` and ``*`` for its arguments, so the next begins with a group."""
    first, *others = [latex(show(value)) for value in row]
    return " & ".join([f"{{}}{first}" if first[:1] in ("[", "*") else first, *others]) + r" \\"


def to_json(table: Table) -> str:
    """Write the rows as a list of objects by column."""
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


WRITERS: Mapping[str, Callable[[Table], str]] = {
    "csv": to_csv,
    "json": to_json,
    "md": to_markdown,
    "latex": to_latex,
}
SUFFIXES = {"csv": "csv", "md": "md", "tex": "latex"}
"""The files of a table: suffix to format."""


def named(value: Any, name: str) -> Any:
    """Return a table, or a list or an object that holds some, with their names; a list's second is ``<name>_2``.

    Columns in which nothing stands are left out.
    """
    if isinstance(value, Table):
        return replace(_without_empty(value), name=name)
    if isinstance(value, list):
        held: list[Any] = value
        return [named(it, f"{name}_{i}" if i > 1 else name) for i, it in enumerate(held, 1)]
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{key: named(it, _part(name, key)) for key, it in _parts(value).items()})
    return value


def _without_empty(table: Table) -> Table:
    """Leave out the columns in which nothing stands."""
    kept = [i for i in range(len(table.columns)) if not table.rows or any(row[i] is not None for row in table.rows)]
    return replace(table, columns=[table.columns[i] for i in kept], rows=[[row[i] for i in kept] for row in table.rows])


def _part(name: str, part: str) -> str:
    return name if part == "table" else f"{name}_{part}"


def _parts(value: Any) -> dict[str, Any]:
    """Return the fields of an object that may hold tables."""
    found = {f.name: getattr(value, f.name) for f in fields(value)}
    return {key: it for key, it in found.items() if isinstance(it, Table | list)}


def tables_in(values: Iterable[Any]) -> Iterator[Table]:
    """Yield every table with a name and rows among values, in lists and in objects of ours."""
    for value in values:
        if isinstance(value, Table):
            yield from [value] if value.rows and value.name else []
        elif isinstance(value, list):
            held: list[Any] = value
            yield from tables_in(held)
        elif is_dataclass(value):
            yield from tables_in(_parts(value).values())


def write_tables(tables: Sequence[Table], directory: Path) -> None:
    """Write each table as CSV, Markdown and LaTeX to ``tables/``, and all of them to ``tables/tables.json``."""
    folder = directory / FOLDER
    folder.mkdir(exist_ok=True)
    for table in tables:
        for suffix, kind in SUFFIXES.items():
            write_atomic(folder / f"{table.name}.{suffix}", WRITERS[kind](table))
    content = {t.name: {"caption": t.caption, "columns": list(t.columns), "rows": list(t.rows)} for t in tables}
    write_json(folder / ALL, content)


def has_tables(directory: Path) -> bool:
    """Say whether ``write_tables`` has written there."""
    return (directory / FOLDER / ALL).is_file()


def read_tables(directory: Path) -> dict[str, Table]:
    """Read what ``write_tables`` wrote, by name."""
    return {name: Table(**found, name=name) for name, found in read_json(directory / FOLDER / ALL).items()}
