"""What a running step may use: its settings, its finished inputs, its folder, and a way to report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunelab.engine.folder import SCRATCH
from tunelab.engine.record import Artifact


@dataclass(frozen=True)
class StepContext:
    """Handed to the function that runs a step."""

    settings: Mapping[str, Any]
    circumstance: Mapping[str, Any]
    inputs: Mapping[str, Artifact]
    holes: Mapping[str, str]
    """Inputs without a result, with the reason; it is empty where nothing has tried yet."""
    directory: Path
    progress: Callable[[int, int, str], None]
    """Call with (done, total, unit) as often as is convenient."""
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    """Fill with plain JSON that the record should keep."""
    owed: dict[str, int] = field(default_factory=dict[str, int])
    alone: str = ""
    """Why a step that could run at once with others of its kind runs by itself; empty where there are no others."""

    def owe(self, count: int, what: str) -> None:
        """Say that the step ends with work owed, like 3 "requests that got no answer"; 0 takes it back.

        The next run calls the step again in its own folder, so that only what is missing is done.
        """
        if count < 0:
            raise ValueError(f"owe: got {count} {what}, expected 0 or more")
        self.owed.pop(what, None)
        if count:
            self.owed[what] = count

    @property
    def name(self) -> str:
        """The step's name: ``kind/slug-<8 hex>``."""
        return f"{self.directory.parent.name}/{self.directory.name}"

    @property
    def scratch(self) -> Path:
        """A folder for progress that must survive a crash and go away when the step is complete."""
        path = self.directory / SCRATCH
        path.mkdir(exist_ok=True)
        return path

    def cache(self, name: str) -> Path:
        """A folder of the store where steps share what is known by its content; it may be deleted at any time."""
        return self.directory.parents[1] / "cache" / name
