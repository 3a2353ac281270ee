"""The answers of a generate step, and the requests that ended without one.

A model in this process answers everything. A server may leave requests unanswered: each of them stands in a file
beside the outputs, with the reason, until it has an answer. No output is made up for it.
"""

from __future__ import annotations

from typing import Any

from tunelab.engine.record import Artifact
from tunelab.files import read_lines

OUTPUTS, UNANSWERED = "outputs.jsonl", "unanswered.jsonl"
REASON = "no_reply"
"""The field of a row that says why it has no output."""

Row = dict[str, Any]


def place(row: Row) -> tuple[str, int]:
    """Return what a row answers: a sample's id and the draw."""
    return row["id"], row["sample"]


def read_answers(artifact: Artifact) -> list[Row]:
    """Return a row for every request of a generate step, in the order of ids and draws; some have a ``REASON``."""
    rows = read_lines(artifact.path(OUTPUTS))
    if UNANSWERED in artifact.record.files:
        rows += read_lines(artifact.path(UNANSWERED))
    return sorted(rows, key=place)
