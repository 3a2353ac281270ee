"""tunelab: controlled fine-tuning experiments on language models.

The names below are the public surface for use from Python; each is imported when it is first asked for, so that
the command line starts at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunelab.formats.format import Format
    from tunelab.report.frames import open_results, stats_of
    from tunelab.study.api import run
    from tunelab.study.entries import Evaluate, Train
    from tunelab.study.spec import Data, Hardware, Study

__all__ = ["Data", "Evaluate", "Format", "Hardware", "Study", "Train", "open_results", "run", "stats_of"]

_HOMES = {
    "Evaluate": "tunelab.study.entries",
    "Format": "tunelab.formats.format",
    "Train": "tunelab.study.entries",
    "open_results": "tunelab.report.frames",
    "run": "tunelab.study.api",
    "stats_of": "tunelab.report.frames",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'tunelab' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "tunelab.study.spec")), name)
