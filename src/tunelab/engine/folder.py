"""A step's folder: the names of the files that the engine keeps beside a step's own, and how they are read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tunelab.engine.record import FileEntry, Record
from tunelab.errors import StoreError
from tunelab.files import sha256_file, sync_file

RECORD = "record.json"
STEP = "step.json"
INPUTS = "inputs.json"
FAILED = "failed.json"
ATTEMPTS = "attempts.jsonl"
LEASE = "lease.json"
SCRATCH = "scratch"
NOT_RESULTS = {RECORD, STEP, INPUTS, FAILED, ATTEMPTS, LEASE}


DIGITS = re.compile(r"[0-9a-f]{8}\Z")
"""What the name of a step's folder ends in."""


def step_folder(root: Path, name: str) -> Path:
    """Return the folder of ``kind/slug-<8 hex>`` in a store, whether or not it exists.

    The digits find it: a step that another study calls by another name is still the same step.
    """
    directory = root / name
    if directory.exists():
        return directory
    digits = directory.name.rpartition("-")[2]
    renamed = sorted(directory.parent.glob(f"*-{digits}")) if DIGITS.match(digits) else []
    return renamed[0] if renamed else directory


class Records:
    """Reads records, each once until it is replaced: a plan asks for those of inputs again and again."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int, int], Record]] = {}

    def read(self, directory: Path) -> Record | None:
        """Return the record in a step's folder, or None. Raises StoreError when it cannot be read as one."""
        path = directory / RECORD
        try:
            stat = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        version = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if directory not in self._known or self._known[directory][0] != version:
            self._known[directory] = version, _read_record(path)
        return self._known[directory][1]


def _read_record(path: Path) -> Record:
    try:
        return Record.from_json(read_json(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(corrupt(path, f"unexpected fields ({error})")) from None


def read_json(path: Path) -> Any:
    """Read one of the store's own JSON files; raises StoreError when it cannot be read or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(corrupt(path, f"text that is not JSON ({error})")) from None
    except OSError as error:
        raise StoreError(f"{path}: got {error.strerror}, expected a readable file; repair its permissions") from None


def result_files(directory: Path) -> list[str]:
    """List a step's own files as sorted relative paths, without the store's bookkeeping and scratch files."""
    paths = (p.relative_to(directory) for p in directory.rglob("*") if p.is_file())
    return sorted(
        p.as_posix() for p in paths if p.as_posix() not in NOT_RESULTS and p.parts[0] != SCRATCH and p.name[0] != "."
    )


def file_entry(path: Path) -> FileEntry:
    """Make a file durable and return its checksum and size."""
    sync_file(path)
    return FileEntry(sha256_file(path), path.stat().st_size)


def corrupt(path: Path, got: str) -> str:
    """Return the message for one of the store's own files that is not what a run wrote."""
    return f"{path}: got {got}, expected what a run wrote there; the file is corrupt: move it away and run again"
