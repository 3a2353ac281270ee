"""Which source a study's rows come from."""

from __future__ import annotations

from pathlib import Path

from tunelab.data.sources import BuiltinSource, FileSource, HubSource, Source, mirror_source
from tunelab.errors import DataError
from tunelab.study.spec import Data
from tunelab.tasks.task import Task


def choose_source(task: Task, data: Data, folder: Path, smoke: bool = False) -> Source | None:
    """Return where a task's rows come from; None for a task that generates them."""
    if task.dataset is None:
        return None
    if files := data.files_of(task.name):
        return FileSource({split: folder / path for split, path in files.items()})
    if data.source in ("auto", "mirror") and (mirror := mirror_source(task.dataset)):
        return mirror
    if data.source == "mirror":
        raise DataError(
            f"data.source: mirror, but TUNELAB_DATA does not hold {task.dataset.repo}; set it to the mirror's folder"
        )
    if data.source == "builtin" or (smoke and data.source == "auto"):
        return BuiltinSource(task.name)
    return HubSource(task.dataset)
