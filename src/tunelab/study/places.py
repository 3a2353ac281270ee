"""Where relative paths start: those in a study file at the file's folder, those in an override where it is typed.

Tasks, data files and local models are found from the study's folder alone. So a path that an override brings is
written as seen from there, before it meets the rest of the study. A bundled study has no folder of the user's: its
paths start in the current folder.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunelab.data.downloads import is_url
from tunelab.models.spec import is_local
from tunelab.scoring.judges.guidelines import BUNDLED
from tunelab.tasks.find import is_file


def seen_from(folder: Path, key: str, value: Any) -> Any:
    """Return an override's value with its paths, which start in the current folder, as seen from ``folder``."""
    return value if folder.resolve() == Path.cwd() else _moved(value, key.split("."), folder)


def _moved(value: Any, key: Sequence[str], folder: Path) -> Any:
    """Follow mappings by their keys, which a sweep writes with dots, and lists item by item."""
    if isinstance(value, dict):
        return {name: _moved(below, [*key, *str(name).split(".")], folder) for name, below in value.items()}
    if isinstance(value, list):
        return [_moved(item, key, folder) for item in value]
    return _path(folder, value) if isinstance(value, str) and _is_path(key, value) else value


def _is_path(key: Sequence[str], value: str) -> bool:
    if key[-1] == "guideline":
        return value not in BUNDLED
    if key[-1] in ("model", "from_checkpoint", "tokenizer") or (key[0] in ("models", "model_names") and len(key) == 2):
        return is_local(value, Path.cwd())
    if key[-1] == "task" or key[0] == "tasks":
        return is_file(value)
    return not is_url(value) and (key[-1] == "file" or ("data" in key and "files" in key[:-1]))


def _path(folder: Path, value: str) -> str:
    path = Path(value).expanduser()
    if path.is_absolute():
        return str(path)
    relative = os.path.relpath(path, folder.resolve())
    return relative if relative.startswith(".") else f"./{relative}"
