"""The record that a finished step leaves: enough to trust its files, to explain it and to run it again.

A finished step may still owe work: requests that got no answer, say. What it has is a result like any other; the next
run asks for the rest. A record also notes the content of its step's inputs, since equal work is not always equal
bytes: a training made again may give other weights, and then what was made of the old ones is no result of these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tunelab.canonical import canonical
from tunelab.errors import StoreError
from tunelab.files import sha256_file

HASH_LIMIT = 64 << 20


@dataclass(frozen=True)
class FileEntry:
    """Checksum and size of one file of a step."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Record:
    """What ``record.json`` holds."""

    fingerprint: str
    """64 hex digits over kind, version, settings and inputs."""
    kind: str
    version: int
    slug: str
    settings: Mapping[str, Any]
    """The identity: literal settings that can change the result."""
    inputs: Mapping[str, str | None]
    """Input name to fingerprint. A hole, an input without a result, has ``missing: <why>``, or None if nobody knows."""
    circumstance: Mapping[str, Any]
    """What the run needed and what cannot change the result: device, batch size, trackers."""
    facts: Mapping[str, Any]
    """What the step found out while running: resolved arguments, counts, data types."""
    versions: Mapping[str, str]
    """Python, platform, tunelab and the libraries that were loaded when the step ended."""
    started: str
    """UTC, ISO 8601. ``seconds`` and ``cpu_seconds`` add up over interrupted attempts."""
    finished: str
    seconds: float
    cpu_seconds: float
    attempts: int
    files: Mapping[str, FileEntry]
    """Path inside the step's folder to checksum and size."""
    contents: Mapping[str, str] = field(default_factory=dict[str, str])
    """Input name to the ``content`` of the input that the result was made of; older records lack it."""
    owed: Mapping[str, int] = field(default_factory=dict[str, int])
    """What is left to be done to how often: {"requests that got no answer": 3}."""
    energy: Mapping[str, float] = field(default_factory=dict[str, float])
    """Joules of whole processors (``cpu``) and GPUs (``gpu``) meanwhile; what could not be read is not there."""

    @cached_property
    def content(self) -> str:
        """Digest, as 64 hex digits, of the names and checksums of the step's files."""
        return hashlib.sha256(
            canonical({name: entry.sha256 for name, entry in self.files.items()}).encode()
        ).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON, the inverse of ``from_json``."""
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Record:
        """Rebuild a record; raises KeyError or TypeError when fields are missing or unknown."""
        fields = dict(value)
        fields["files"] = {name: FileEntry(**entry) for name, entry in value["files"].items()}
        return Record(**fields)


def describe_owed(owed: Mapping[str, int]) -> str:
    """Return what is owed as a sentence: ``3 requests that got no answer are owed``."""
    return f"{' and '.join(f'{count} {what}' for what, count in owed.items())} are owed"


@dataclass(frozen=True)
class Artifact:
    """A finished step: its record and where its files are."""

    record: Record
    directory: Path

    def path(self, name: str) -> Path:
        """Return the path of a file or folder that the step recorded; raises StoreError when it is not there."""
        path = self.directory / name
        known = name in self.record.files or any(f.startswith(f"{name}/") for f in self.record.files)
        if not known or not path.exists():
            raise StoreError(f"{self.directory}: no file {name!r}, expected one of {sorted(self.record.files)}")
        return path

    def verify(self) -> None:
        """Check every file's size, and the checksum of files up to 64 MiB. Raises StoreError on the first mismatch."""
        for name, entry in self.record.files.items():
            path = self.directory / name
            size = path.stat().st_size if path.exists() else None
            if size != entry.bytes:
                raise StoreError(_damaged(path, f"{size} bytes", f"{entry.bytes} bytes"))
            if entry.bytes <= HASH_LIMIT and (digest := sha256_file(path)) != entry.sha256:
                raise StoreError(_damaged(path, f"sha256 {digest[:12]}…", f"{entry.sha256[:12]}…"))


def _damaged(path: Path, got: str, expected: str) -> str:
    return f"{path}: got {got}, expected {expected} as recorded; delete the step's folder to run the step again"
