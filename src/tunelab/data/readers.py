"""Reading rows from files: jsonl, json (a list of objects), csv and parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tunelab.errors import DataError

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """Read a file's rows by its suffix. Raises DataError that names the file, the line and what was expected."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: got the suffix {path.suffix!r}, expected one of {', '.join(sorted(READERS))}")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        rows = reader(path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is not UTF-8; convert the file to UTF-8") from None
    if not rows:
        raise DataError(f"{path}: holds no rows, expected at least one")
    return rows


def require_columns(rows: Sequence[Row], columns: Sequence[str], where: str) -> None:
    """Raise DataError when a row lacks a column that a task needs."""
    for number, row in enumerate(rows, 1):
        missing = [c for c in columns if c not in row]
        if missing:
            raise DataError(
                f"{where}, row {number}: no column {missing[0]!r}, got {sorted(row)}; "
                f"expected {', '.join(columns)}: rename the column"
            )


def _read_jsonl(path: Path) -> list[Row]:
    with path.open(encoding="utf-8-sig") as file:
        return [_object(line, f"{path}, line {n}") for n, line in enumerate(file, 1) if line.strip()]


def _read_json(path: Path) -> list[Row]:
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error})") from None
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise DataError(f"{path}: got {type(value).__name__}, expected a list of objects")
    return value


def _read_csv(path: Path) -> list[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [dict(row) for row in csv.DictReader(file)]


def _read_parquet(path: Path) -> list[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{path}: not a parquet file ({error})") from None


def _object(line: str, where: str) -> Row:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise DataError(f"{where}: got {type(value).__name__}, expected an object")
    return value


READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
