"""Files that survive a crash: atomic writes, JSON Lines that may end torn, checksums.

A reader must see the old file or the new one, never half of either. Files that grow a line at a time are the
exception: a kill can tear their last line, so ``read_lines`` drops a last line that has no newline.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

CHUNK = 1 << 20


def write_atomic(path: Path, text: str) -> None:
    """Replace ``path`` by ``text``; after a crash it holds the old content or the new."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` as ``write_atomic`` does."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` atomically as indented JSON; NaN and infinity raise ValueError."""
    write_bytes(path, _escaped(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"))


def _escaped(text: str) -> bytes:
    """Encode JSON. A surrogate that stands alone, as a server may send one, is no UTF-8: its JSON escape is written."""
    return text.encode("utf-8", "backslashreplace")


def read_json(path: Path) -> Any:
    """Read a JSON file; raises ValueError when it is not JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def replace_json(path: Path, value: Any) -> None:
    """Replace ``path`` for those who read it now, old or new and never half; a power cut may lose it, as nothing waits
    for the disk.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_text(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write ``rows`` atomically as JSON Lines."""
    write_bytes(path, _escaped("".join(line(row) for row in rows)))


def line(row: Mapping[str, Any]) -> str:
    """Return one JSON Lines row with its newline."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def append_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append ``rows`` in one write, so that a kill tears at most the last of them."""
    with path.open("ab") as file:
        file.write(_escaped("".join(line(row) for row in rows)))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON Lines and drop a torn last line. A line that is not JSON elsewhere raises ValueError."""
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = []
    for number, content in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            rows.append(json.loads(content))
        except ValueError:
            raise ValueError(f"{path}, line {number}: not JSON") from None
    return rows


def resume_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON Lines and cut a torn last line off the file, so that appending may go on."""
    if path.exists():
        content = path.read_bytes()
        os.truncate(path, content.rfind(b"\n") + 1)
    return read_lines(path)


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's content as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV with every column that a row has; missing values are empty fields, lists are comma-parted."""
    text = io.StringIO()
    if rows:
        columns = dict.fromkeys(column for row in rows for column in row)
        writer = csv.DictWriter(text, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: ", ".join(v) if isinstance(v, list | tuple) else v for k, v in r.items()} for r in rows)
    return text.getvalue()


def known_sha256(path: Path) -> str:
    """Return a file's sha256, computed once a process while its size and time of change stay."""
    stat = path.stat()
    return _known(path.resolve(), stat.st_size, stat.st_mtime_ns)


@cache
def _known(path: Path, size: int, mtime_ns: int) -> str:
    return sha256_file(path)


def disk_full(error: BaseException) -> bool:
    """Say whether a full disk or quota is behind an error, also when a library has wrapped it in a type of its own."""
    codes = (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "errno", None) in codes or any(os.strerror(code) in str(error) for code in codes)


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
