"""Sources: the places a dataset's rows can come from, with one shape for all.

- ``hub``: the Hugging Face hub, at the revision that the task pins.
- ``mirror``: a folder laid out as ``<owner>/<name>/<config>/<split>.jsonl``, named by ``TUNELAB_DATA``.
- ``file``: the user's own jsonl, csv, parquet or json, by path or URL.
- ``builtin``: the dozen rows that each task ships.

Rows that are in memory already have the same shape.

A source has an identity for the fingerprint: the pinned revision, or the sha256 of the content. Paths never
enter, so a moved file is the same data and an edited one is not.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

from tunelab.canonical import canonical
from tunelab.data import hub
from tunelab.data.downloads import downloaded
from tunelab.data.readers import Row, read_rows
from tunelab.errors import DataError, nearest
from tunelab.files import known_sha256, sha256_file

MIRROR_VARIABLE = "TUNELAB_DATA"


@dataclass(frozen=True)
class Dataset:
    """A dataset as a task knows it. ``splits`` maps the task's split names to the hub's.

    A dataset with a config for each language has a split for each, whose config ``configs`` names, and a split that
    ``joins`` several of them, one after the other. Every source gives the rows of the parts; joining them is the
    task's, which knows what a part means.
    """

    repo: str
    config: str
    revision: str
    splits: Mapping[str, str]
    columns: tuple[str, ...]
    sizes: Mapping[str, int] = field(default_factory=dict[str, int])
    """Published rows of the task's splits, where they are certain: what n is checked against."""
    configs: Mapping[str, str] = field(default_factory=dict[str, str])
    """The config of a split, where it is not ``config``."""
    joins: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Splits that are several others; a part that the hub does not have can only come from files."""
    pieces: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Of a config that the hub has only in pieces: the hub's configs that are it together, one after the other."""

    def split(self, name: str) -> str:
        """Return the hub's name of a split; raises DataError for a split that the task does not have."""
        if name not in self.splits:
            raise DataError(
                f"split of {self.repo}: got {name!r}, expected a declared split, or rows of your own as "
                f"data.files.{name}=FILE{nearest(name, self.splits)}"
            )
        return self.splits[name]

    def config_of(self, split: str) -> str:
        """Return the hub's config that holds a split."""
        return self.configs.get(split, self.config)

    def pieces_of(self, split: str) -> tuple[str, ...]:
        """Return the configs in which the hub has a split: its own, unless that is in pieces there."""
        config = self.config_of(split)
        return self.pieces.get(config, (config,))

    def parts(self, split: str) -> tuple[str, ...]:
        """Return the splits that a split consists of: itself, unless it joins others."""
        return self.joins.get(split, (split,))


class Source(Protocol):
    """Gives the rows of a split, and what they are identified by."""

    def identity(self, split: str) -> dict[str, Any]:
        """Return plain JSON that changes exactly when the rows can change. Raises DataError when there are none."""
        ...

    def rows(self, split: str) -> list[Row]:
        """Return the rows of a split in the dataset's own columns and order."""
        ...


@dataclass(frozen=True)
class HubSource:
    """The hub at a pinned revision, through the ``datasets`` cache."""

    dataset: Dataset

    def identity(self, split: str) -> dict[str, Any]:
        d, place = self.dataset, self._place(split)
        hub.require(place)
        known = {"hub": d.repo, "config": place.config, "revision": d.revision, "split": place.split}
        return known | ({"pieces": list(place.pieces)} if place.config in d.pieces else {})

    def rows(self, split: str) -> list[Row]:
        return hub.load_split(self._place(split))

    def _place(self, split: str) -> hub.Place:
        d = self.dataset
        return hub.Place(d.repo, d.config_of(split), d.split(split), d.revision, d.pieces_of(split))


@dataclass(frozen=True)
class FileSource:
    """Files of the user, one a split; a text is a URL."""

    files: Mapping[str, Path | str]
    key: str | None = None
    """Where the study names the file; by default ``data.files`` and the split."""

    def identity(self, split: str) -> dict[str, Any]:
        return {"sha256": known_sha256(self._path(split))}

    def rows(self, split: str) -> list[Row]:
        return read_rows(self._path(split))

    def _path(self, split: str) -> Path:
        if split not in self.files:
            raise DataError(f"data.files: no file for the split {split!r}; add `{split}: PATH` under data.files")
        place, key = self.files[split], self.key or f"data.files.{split}"
        if isinstance(place, str):
            return _downloaded(place, key)
        if not place.is_file():
            raise DataError(f"{key}: {place} is not a file; expected jsonl, json, csv or parquet")
        return place


def _downloaded(url: str, key: str) -> Path:
    try:
        return downloaded(url)
    except DataError as error:
        raise DataError(f"{key}: {error}") from None


@dataclass(frozen=True)
class RowsSource:
    """Rows in memory, the same for every split."""

    content: Sequence[Row]

    def identity(self, split: str) -> dict[str, Any]:
        return {"sha256": hashlib.sha256(json.dumps(self.content, sort_keys=True).encode()).hexdigest()}

    def rows(self, split: str) -> list[Row]:
        return list(self.content)


@dataclass(frozen=True)
class BuiltinSource:
    """The rows that a task ships: every split has the same columns as on the hub."""

    task: str

    def identity(self, split: str) -> dict[str, Any]:
        return {"builtin": self.task, "split": split, "sha256": sha256_file(self._path())}

    def rows(self, split: str) -> list[Row]:
        """Return the shipped rows of one split; the column ``split`` says which rows belong to it."""
        rows = [row for row in read_rows(self._path()) if row["split"] == split]
        if not rows:
            raise DataError(f"task {self.task}: no built-in rows for the split {split!r}")
        return [{k: v for k, v in row.items() if k != "split"} for row in rows]

    def _path(self) -> Path:
        path = Path(str(resources.files("tunelab.tasks"))) / "rows" / f"{self.task}.jsonl"
        if not path.is_file():
            raise DataError(f"task {self.task}: ships no built-in rows; use data.source=hub or data.files")
        return path


@dataclass(frozen=True)
class MirrorSource:
    """A dataset's folder in the mirror, with one for each config.

    A split that it lacks is an error: another source may have other rows.
    """

    dataset: Dataset
    folder: Path

    def identity(self, split: str) -> dict[str, Any]:
        return {"sha256": known_sha256(self._present(split))}

    def rows(self, split: str) -> list[Row]:
        return read_rows(self._present(split))

    def path(self, split: str) -> Path:
        """Return where the mirror keeps a split."""
        return self.folder / self.dataset.config_of(split) / f"{self.dataset.split(split)}.jsonl"

    def _present(self, split: str) -> Path:
        path = self.path(split)
        if not path.is_file():
            raise DataError(
                f"mirror of {self.dataset.repo}: the split {split!r} is missing, expected {path} ({MIRROR_VARIABLE}); "
                "add the file or set data.source to hub: auto does not leave a mirror that holds other splits"
            )
        return path


def source_identity(dataset: Dataset, source: Source, split: str) -> dict[str, Any]:
    """Return what a split's rows are identified by.

    Of a split that joins others that is what all parts have in common, each part's own identity, and one ``sha256``.
    """
    if dataset.parts(split) == (split,):
        return source.identity(split)
    parts = {part: source.identity(part) for part in dataset.parts(split)}
    first = next(iter(parts.values()))
    common = {key: value for key, value in first.items() if all(part.get(key) == value for part in parts.values())}
    digest = hashlib.sha256(canonical(parts).encode()).hexdigest()
    return {"sha256": digest, **common, "parts": parts}


def mirror_source(dataset: Dataset) -> MirrorSource | None:
    """Return the mirror of a dataset, or None when ``TUNELAB_DATA`` is unset or holds no split of it."""
    root = os.environ.get(MIRROR_VARIABLE)
    if not root:
        return None
    mirror = MirrorSource(dataset, Path(root) / dataset.repo)
    return mirror if any(mirror.path(split).is_file() for split in dataset.splits) else None
