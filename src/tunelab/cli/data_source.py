"""Where ``tunelab data`` takes rows from: a source or files of the user's, before what a study says."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from tunelab.errors import DataError
from tunelab.study.places import seen_from
from tunelab.study.preview import Subject
from tunelab.study.spec import Data


class SourceName(StrEnum):
    """Where rows come from."""

    AUTO = "auto"
    HUB = "hub"
    MIRROR = "mirror"
    BUILTIN = "builtin"


Source = Annotated[
    SourceName | None, typer.Option("--source", help="Where rows come from. Default: auto, or the study's data.")
]
Files = Annotated[
    list[str] | None, typer.Option("--file", metavar="SPLIT=FILE", help="Your own rows of a split; repeatable.")
]


def choose_data(subject: Subject, source: SourceName | None, files: Sequence[str]) -> Data:
    """Return where rows come from: own files, or a source, before what the study says. Raises DataError."""
    given: dict[str, str | dict[str, str]] = {}
    for text in files:
        split, separator, path = text.partition("=")
        if not split or not separator or not path:
            raise DataError(f"--file: got {text!r}, expected SPLIT=FILE, like train=my.jsonl")
        given[split] = seen_from(subject.folder, f"data.files.{split}", path)
    if source is not None:
        return Data(source=source.value, files=given, splits=subject.data.splits)
    return subject.data.model_copy(update={"files": {**subject.data.files_of(subject.task), **given}})
