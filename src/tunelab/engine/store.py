"""The store: one folder a step, complete exactly when ``record.json`` exists.

``<store>/<kind>/<slug>-<8 hex>/`` holds a step's files; the digits find it and the slug is for people, so a step
that a study calls by another name is still the same step. ``step.json`` says what the folder is for from the first
moment, and ``inputs.json`` of which content of its inputs. ``record.json`` is written last, by atomic rename, after
every file has reached the disk. Anything without a record is to be run, and what it holds may be used to resume. A
folder made of inputs that have another content by now is neither a result nor a start: it is moved to ``replaced/``
as a whole before the step runs. Nothing here is ever deleted by a run. What lies in a step's folder is known to
``folder.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock

from tunelab.engine import lease
from tunelab.engine.folder import (
    FAILED,
    INPUTS,
    LEASE,
    RECORD,
    STEP,
    Records,
    file_entry,
    read_json,
    result_files,
    step_folder,
)
from tunelab.engine.record import Artifact, Record
from tunelab.engine.step import Step
from tunelab.errors import LeaseLost, StoreError
from tunelab.files import sync_folder, write_json

FORMAT = 1
REPLACED = "replaced"


class Store:
    """Opens the store at ``root``; it is made when the first step runs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: set[str] = set()
        self._records = Records()
        self._check_format()

    def directory(self, step: Step) -> Path:
        """Return the folder of a step, whether or not it exists."""
        return step_folder(self.root, step.name)

    def find(self, step: Step) -> Artifact | None:
        """Return the finished step, or None while it is to be run: it has no record, or one of other inputs' content.

        Raises StoreError for a record that is corrupt.
        """
        directory = self.directory(step)
        record = self._records.read(directory)
        if record is None or self._changed(step, record.contents):
            return None
        if record.fingerprint != step.fingerprint:
            raise StoreError(
                f"{directory / RECORD}: got fingerprint {record.fingerprint[:16]}…, expected "
                f"{step.fingerprint[:16]}…; the folder was edited or renamed, move it away"
            )
        return Artifact(record, directory)

    def outdated(self, step: Step) -> list[str]:
        """Name the inputs that have another content now than when the step finished; none where it has not."""
        record = self._records.read(self.directory(step))
        return self._changed(step, record.contents) if record else []

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
        """Take the right to run a step, or return None while another process runs it.

        What was made of other inputs is set aside first, so that no step resumes from it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with self._lock():
            if not self.is_running(step) and self._changed(step, self._made_of(step)):
                self._move(step)
            return lease.claim(self._make(step) / LEASE)

    def reopen(self, step: Step) -> None:
        """Take the record off a finished step that owes work, for whoever holds its lease; its files stay."""
        self._verified.discard(step.fingerprint)
        (self.directory(step) / RECORD).unlink()

    def set_aside(self, step: Step) -> Path:
        """Move a step's folder to ``replaced/`` and return its new place. Raises StoreError while the step runs."""
        with self._lock():
            if self.is_running(step):
                raise StoreError(f"{step.name}: is being run by another process, expected it at rest; wait, or stop it")
            return self._move(step)

    def is_running(self, step: Step) -> bool:
        """Say whether a living process runs the step now."""
        return lease.is_held(self.directory(step) / LEASE)

    def complete(self, step: Step, held: lease.Lease, record: dict[str, Any]) -> Artifact:
        """Make a step's files durable, checksum them and write its record last.

        ``record`` has Record's fields without identity and files. Raises LeaseLost when another process owns the step.
        """
        directory = self.directory(step)
        files = {name: file_entry(directory / name) for name in result_files(directory)}
        made = Record(
            fingerprint=step.fingerprint,
            kind=step.kind,
            version=step.version,
            slug=step.slug,
            settings=dict(step.settings),
            inputs=step.identity["inputs"],
            circumstance=dict(step.circumstance),
            files=files,
            contents=self._made_of(step),
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
            record = self._records.read(path.parent)
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
        if step.inputs and not (directory / INPUTS).exists():
            write_json(directory / INPUTS, self._contents(step))
        return directory

    def _move(self, step: Step) -> Path:
        directory = self.directory(step)
        time = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        place = self.root / REPLACED / f"{directory.relative_to(self.root)}-{time}"
        place.parent.mkdir(parents=True, exist_ok=True)
        directory.rename(place)
        sync_folder(directory.parent)
        self._verified.discard(step.fingerprint)
        return place

    def _made_of(self, step: Step) -> dict[str, str]:
        """Return what the inputs' contents were when a step's folder was begun, as far as that is known."""
        path = self.directory(step) / INPUTS
        return read_json(path) if path.exists() else {}

    def _changed(self, step: Step, contents: Mapping[str, str]) -> list[str]:
        """Name the inputs that have another content now. One that is gone may yet come back as it was."""
        now = self._contents(step) if contents else {}
        return [name for name, digest in contents.items() if now.get(name, digest) != digest]

    def _contents(self, step: Step) -> dict[str, str]:
        records = {name: self._records.read(self.directory(needed)) for name, needed in step.inputs.items()}
        return {name: record.content for name, record in records.items() if record is not None}

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
