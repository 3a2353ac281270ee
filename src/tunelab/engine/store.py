"""The store: one folder a step, complete exactly when ``record.json`` exists.

``<store>/<kind>/<slug>-<8 hex>/`` holds a step's files; the digits find it and the slug is for people, so a step
that a study calls by another name is still the same step. ``step.json`` says what the folder is for from the first
moment, ``record.json`` is written last, by atomic rename, after every file has reached the disk. Anything
without a record is owed, and what it holds may be used to resume. Nothing here is ever deleted or overwritten
by a run. All knowledge of paths is in this file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock

from tunelab.engine import lease
from tunelab.engine.record import Artifact, FileEntry, Record
from tunelab.engine.step import Step
from tunelab.errors import LeaseLost, StoreError
from tunelab.files import sha256_file, sync_file, sync_folder, write_json

FORMAT = 1
RECORD = "record.json"
STEP = "step.json"
FAILED = "failed.json"
ATTEMPTS = "attempts.jsonl"
LEASE = "lease.json"
SCRATCH = "scratch"
NOT_RESULTS = {RECORD, STEP, FAILED, ATTEMPTS, LEASE}


class Store:
    """Opens the store at ``root``; it is made when the first step runs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: set[str] = set()
        self._check_format()

    def directory(self, step: Step) -> Path:
        """Return the folder of a step, whether or not it exists."""
        directory = self.root / step.name
        if directory.exists():
            return directory
        renamed = sorted(directory.parent.glob(f"*-{step.fingerprint[:8]}"))
        return renamed[0] if renamed else directory

    def find(self, step: Step) -> Artifact | None:
        """Return the finished step, or None while it is owed. Raises StoreError for a record that is corrupt."""
        directory = self.directory(step)
        record = read_record(directory)
        if record is None:
            return None
        if record.fingerprint != step.fingerprint:
            raise StoreError(
                f"{directory / RECORD}: got fingerprint {record.fingerprint[:16]}…, expected "
                f"{step.fingerprint[:16]}…; the folder was edited or renamed, move it away"
            )
        return Artifact(record, directory)

    def open(self, step: Step) -> Artifact:
        """Return a finished step whose files have been verified in this process."""
        artifact = self.find(step)
        if artifact is None:
            raise StoreError(f"{step.name}: not finished, expected a record; run the study first")
        if step.fingerprint not in self._verified:
            artifact.verify()
            self._verified.add(step.fingerprint)
        return artifact

    def failure(self, step: Step) -> str:
        """Return the error of a step's last attempt, empty if it did not fail."""
        path = self.directory(step) / FAILED
        return read_json(path)["error"] if path.exists() else ""

    def claim(self, step: Step) -> lease.Lease | None:
        """Take the right to run a step, or return None while another process runs it."""
        self.root.mkdir(parents=True, exist_ok=True)
        with self._lock():
            return lease.claim(self._make(step) / LEASE)

    def is_running(self, step: Step) -> bool:
        """Say whether a living process runs the step now."""
        return lease.is_held(self.directory(step) / LEASE)

    def complete(self, step: Step, held: lease.Lease, record: dict[str, Any]) -> Artifact:
        """Make a step's files durable, checksum them and write its record last.

        ``record`` has Record's fields without identity and files. Raises LeaseLost when another process owns the step.
        """
        directory = self.directory(step)
        files = {name: _entry(directory / name) for name in result_files(directory)}
        made = Record(
            fingerprint=step.fingerprint,
            kind=step.kind,
            version=step.version,
            slug=step.slug,
            settings=dict(step.settings),
            inputs=step.identity["inputs"],
            circumstance=dict(step.circumstance),
            files=files,
            **record,
        )
        for folder in {directory, *(path for path in directory.rglob("*") if path.is_dir())}:
            sync_folder(folder)
        with self._lock():
            if not held.held():
                raise LeaseLost(f"{step.name}: another process took this step over; its result is used instead")
            (directory / FAILED).unlink(missing_ok=True)
            write_json(directory / RECORD, made.to_json())
        self._verified.add(step.fingerprint)
        return Artifact(made, directory)

    def artifacts(self) -> Iterator[Artifact]:
        """Yield every finished step in the store, sorted by name."""
        for path in sorted(self.root.glob(f"*/*/{RECORD}")):
            record = read_record(path.parent)
            if record is not None:
                yield Artifact(record, path.parent)

    def identities(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name and identity of every step that was ever started here."""
        for path in sorted(self.root.glob(f"*/*/{STEP}")):
            yield f"{path.parent.parent.name}/{path.parent.name}", read_json(path)

    def _lock(self) -> BaseFileLock:
        """Guards claims and completions, for milliseconds."""
        return FileLock(self.root / "claims.lock")

    def _make(self, step: Step) -> Path:
        directory = self.directory(step)
        directory.mkdir(parents=True, exist_ok=True)
        if not (self.root / "store.json").exists():
            write_json(self.root / "store.json", {"format": FORMAT})
        if not (directory / STEP).exists():
            write_json(directory / STEP, step.identity | {"fingerprint": step.fingerprint})
            sync_folder(directory.parent)
        return directory

    def _check_format(self) -> None:
        path = self.root / "store.json"
        if not path.exists():
            return
        content = read_json(path)
        found = content.get("format") if isinstance(content, dict) else content
        if not isinstance(found, int) or found > FORMAT:
            raise StoreError(
                f"{path}: got store format {found!r}, expected {FORMAT} or lower; "
                "this store was made by a newer tunelab: upgrade, or choose another folder with --store"
            )


def read_record(directory: Path) -> Record | None:
    """Return the record in a step's folder, or None. Raises StoreError when it cannot be read as one."""
    path = directory / RECORD
    if not path.exists():
        return None
    try:
        return Record.from_json(read_json(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(_corrupt(path, f"unexpected fields ({error})")) from None


def read_json(path: Path) -> Any:
    """Read one of the store's own JSON files; raises StoreError when it cannot be read or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(_corrupt(path, f"text that is not JSON ({error})")) from None
    except OSError as error:
        raise StoreError(f"{path}: got {error.strerror}, expected a readable file; repair its permissions") from None


def result_files(directory: Path) -> list[str]:
    """List a step's own files as sorted relative paths, without the store's bookkeeping and scratch files."""
    paths = (p.relative_to(directory) for p in directory.rglob("*") if p.is_file())
    return sorted(
        p.as_posix() for p in paths if p.as_posix() not in NOT_RESULTS and p.parts[0] != SCRATCH and p.name[0] != "."
    )


def _entry(path: Path) -> FileEntry:
    sync_file(path)
    return FileEntry(sha256_file(path), path.stat().st_size)


def _corrupt(path: Path, got: str) -> str:
    return f"{path}: got {got}, expected what a run wrote there; the file is corrupt: move it away and run again"
