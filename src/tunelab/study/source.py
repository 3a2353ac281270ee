"""Which source a study's rows come from."""

from __future__ import annotations

from pathlib import Path

from tunelab.data.downloads import is_url
from tunelab.data.sources import BuiltinSource, FileSource, HubSource, Source, mirror_source
from tunelab.errors import DataError
from tunelab.study.spec import Data
from tunelab.tasks.task import Task


def choose_source(task: Task, data: Data, folder: Path, smoke: bool = False, file: str | None = None) -> Source | None:
    """Return where a task's rows come from; None for a task that generates them.

    ``file`` is what one variant trains on instead. Raises DataError for a file where the task generates its rows.
    """
    if task.dataset is None:
        if file is not None:
            raise DataError(f"train: got the file {file} for task {task.name}, expected none: it makes its own rows")
        return None
    if file is not None:
        return FileSource({task.train_split: place(file, folder)}, "train.NAME.file")
    if files := data.files_of(task.name):
        return FileSource({split: place(path, folder) for split, path in files.items()})
    if data.source in ("auto", "mirror") and (mirror := mirror_source(task.dataset)):
        return mirror
    if data.source == "mirror":
        raise DataError(
            f"data.source: mirror, but TUNELAB_DATA does not hold {task.dataset.repo}; set it to the mirror's folder"
        )
    if data.source == "builtin" or (smoke and data.source == "auto"):
        return BuiltinSource(task.name)
    return HubSource(task.dataset)


def place(file: str, folder: Path) -> Path | str:
    """Return where a study's file is: a path that starts in the study's folder, or a URL as it stands."""
    return file if is_url(file) else folder / Path(file).expanduser()
