"""Reading rows from files: jsonl, json (a list of objects), csv and parquet."""

from __future__ import annotations

import csv
import io
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
    rows = reader(path)
    if not rows:
        raise DataError(f"{path}: holds no rows, expected at least one")
    return rows


def read_outputs(path: Path) -> list[Row]:
    """Read outputs to score: rows as ``read_rows`` reads them, or one JSON object from id to output, as SQuAD has it.

    Raises DataError as ``read_rows`` does.
    """
    if path.suffix.lower() == ".json" and path.is_file() and isinstance(value := _json_value(path), dict) and value:
        return [{"id": key, "output": output} for key, output in value.items()]
    return read_rows(path)


def require_columns(rows: Sequence[Row], columns: Sequence[str], where: str) -> None:
    """Raise DataError when a row lacks a column that a task needs."""
    for number, row in enumerate(rows, 1):
        missing = [c for c in columns if c not in row]
        if missing:
            raise DataError(
                f"{where}, row {number}: no column {missing[0]!r}, got {sorted(row)}; "
                f"expected {', '.join(columns)}: rename the column"
            )


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line}: is not UTF-8; convert the file to UTF-8") from None


def _read_jsonl(path: Path) -> list[Row]:
    lines = enumerate(_text(path).split("\n"), 1)
    return [_object(line, f"{path}, line {number}") for number, line in lines if line.strip()]


def _json_value(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error})") from None


def _read_json(path: Path) -> list[Row]:
    value = _json_value(path)
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise DataError(f"{path}: got {type(value).__name__}, expected a list of objects")
    return value


def _read_csv(path: Path) -> list[Row]:
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
    reader.fieldnames = [name or f"Unnamed: {i}" for i, name in enumerate(reader.fieldnames or ())]
    rows: list[Row] = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise csv.Error(f"the number of fields is not that of the header, {len(reader.fieldnames or ())}")
            rows.append(dict(row))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.reader.line_num}: not CSV ({error})") from None
    return rows


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
