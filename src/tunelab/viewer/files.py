"""The one place where the viewer opens files: below the store, wherever links lead, and only to read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunelab.engine.folder import FAILED, LEASE, STEP, Records, read_json, step_folder
from tunelab.engine.lease import looks_held
from tunelab.engine.record import Record
from tunelab.errors import StoreError


class Outside(Exception):
    """A path leads out of the store."""


class StoreFiles:
    """Reads the store at ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._records = Records()

    def inside(self, path: Path) -> Path:
        """Return a path with every link followed. Raises Outside when it is not below the store."""
        found = path.resolve()
        if not found.is_relative_to(self.root):
            raise Outside(str(path))
        return found

    def step(self, name: str) -> Path:
        """Return the folder of ``kind/slug-<8 hex>``, whether or not it exists. Raises Outside.

        The digits find it: the study that first ran the step may have called it by another name.
        """
        return self.inside(step_folder(self.root, self.inside(self.root / name).relative_to(self.root).as_posix()))

    def steps(self) -> dict[str, str]:
        """Return the name of every step that was ever begun, by the 8 digits of its fingerprint."""
        found = (path.parent for path in self.root.glob(f"*/*/{STEP}"))
        return {p.name.rpartition("-")[2]: f"{p.parent.name}/{p.name}" for p in found}

    def json(self, path: Path) -> Any:
        """Return a JSON file's content, None where there is none. Raises StoreError and Outside."""
        place = self.inside(path)
        return read_json(place) if place.is_file() else None

    def record(self, name: str) -> Record | None:
        """Return the record of a finished step. Raises StoreError and Outside."""
        self.inside(self.step(name) / "record.json")
        return self._records.read(self.step(name))

    def records(self, kind: str) -> Iterator[tuple[str, Record]]:
        """Yield name and record of every finished step of a kind; of damaged ones their own page says what is wrong."""
        for path in sorted(self.root.glob(f"{kind}/*/record.json")):
            name = f"{kind}/{path.parent.name}"
            try:
                record = self.record(name)
            except (StoreError, Outside):
                continue
            if record is not None:
                yield name, record

    def failure(self, name: str) -> dict[str, str] | None:
        """Return error, traceback and time of a step's last attempt, None if it did not fail."""
        return self.json(self.step(name) / FAILED)

    def is_running(self, name: str) -> bool:
        """Say whether a living process runs the step now."""
        return looks_held(self.inside(self.step(name) / LEASE))
