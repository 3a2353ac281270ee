"""A sample: one row of a task, as every later step sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sample:
    """One row of a task.

    ``id`` is unique within a task and the same in every run: comparisons pair by it. ``fields`` feed the prompt,
    ``targets`` are the accepted answers (the first is the reference), ``metadata`` holds what results are grouped by
    (subject, language, cluster).
    """

    id: str
    fields: Mapping[str, Any]
    targets: tuple[str, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON, the inverse of ``from_json``."""
        return {"id": self.id, "fields": self.fields, "targets": list(self.targets), "metadata": self.metadata}

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Sample:
        """Rebuild a sample from a row of ``rows.jsonl``."""
        return Sample(row["id"], row["fields"], tuple(row["targets"]), row["metadata"])


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; ``role`` is system, user or assistant."""

    role: str
    content: str
