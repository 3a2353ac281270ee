"""Guidelines for judges: a bundled one by its name, or a text file of the user's.

A guideline is identified by its text, so that an edited file is another judge.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from tunelab.errors import StudyError

BUNDLED = ("safety", "correctness")


@dataclass(frozen=True)
class Guideline:
    """What a judge is told to decide by."""

    name: str
    text: str

    @property
    def identity(self) -> dict[str, Any]:
        """Sha256 and text, without the name."""
        return {"sha256": hashlib.sha256(self.text.encode()).hexdigest(), "text": self.text}


def read_guideline(name: str, folder: Path) -> Guideline:
    """Return the bundled guideline of that name, or the text of the file, relative to ``folder``.

    Raises StudyError when there is neither, and for a file without text.
    """
    if name in BUNDLED:
        return Guideline(name, resources.files(__name__).joinpath(f"{name}.txt").read_text(encoding="utf-8"))
    path = folder / Path(name).expanduser()
    if not path.is_file():
        raise StudyError(f"guideline: got {name!r}, expected {', '.join(BUNDLED)} or a text file, but {path} is none")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise StudyError(f"guideline: {path} is not UTF-8 text; save it as such") from None
    if not text.strip():
        raise StudyError(f"guideline: {path} is empty, expected what the judge should decide by")
    return Guideline(name, text)
