"""Denominators: how many rows a score must be about, and whether it is.

A share of fewer rows than were published, or answers that got lost, would otherwise pass as a smaller test. What
the evaluation declares (``expected``) always counts. Else n follows from the published size of the split on the hub,
and from the rows that are there in a mirror, which may hold a part of a split: that is told, and is no error. Rows
of one's own, built-in and generated rows, and splits that a study makes itself, have no published size; what was asked
must still have been answered. Unscored answers are no mismatch: they are counted and bound the score. Nor are requests
that a server left without a reply: each is an unscored answer, and told.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunelab.data.sources import HubSource, MirrorSource, Source
from tunelab.data.subsets import count
from tunelab.errors import DataError
from tunelab.study.cells import Evaluation
from tunelab.study.made_splits import learnt_from, made, test_split
from tunelab.study.source import choose_source
from tunelab.study.spec import Study
from tunelab.tasks.find import find_task

Plain = Mapping[str, Any]
NO_VALUE = {"value": None, "low": None, "high": None, "method": "none", "n": 0}


def declared_rows(study: Study, evaluation: Evaluation, folder: Path) -> dict[str, Any]:
    """Return what is known before a run, as plain JSON. A smoke run takes what rows there are."""
    task, settings = find_task(evaluation.task, folder), evaluation.settings
    split = settings.split or test_split(study.data, task)
    try:
        place = _place(choose_source(task, study.data, folder, study.smoke))
    except DataError:  # the rows are not there, which the step that prepares them says
        place = ""
    whole = place and not study.smoke and not made(study.data, task, split)
    published = task.dataset.sizes.get(split) if task.dataset and whole else None
    return {
        "declared": settings.expected,
        "place": place,
        "published": published,
        "size": settings.size,
        "reserves": split == learnt_from(study.data, task),
    }


def _place(source: Source | None) -> str:
    return "hub" if isinstance(source, HubSource) else "mirror" if isinstance(source, MirrorSource) else ""


def planned_rows(rows: Plain) -> int | None:
    """Return the n of an evaluation before its rows are there: what it declares, or what the published size gives."""
    if rows["declared"] is not None:
        return rows["declared"]
    if isinstance(rows["size"], int):
        return rows["size"]
    return None if rows["published"] is None else count(rows["published"], rows["size"])


def with_denominator(rows: Plain, summary: Plain) -> dict[str, Any]:
    """Return a summary with the n that it had to have; one that has another n keeps no value and says so."""
    asked = summary["n"] + summary.get("unanswered", 0)
    expected = _expected(rows, summary.get("available"), asked)
    found: dict[str, Any] = {**summary, "asked": asked, "expected": expected, "published": rows["published"]}
    if notes := _notes(rows, summary):
        found["note"] = "; ".join(notes)
    if error := _error(rows, summary, asked, asked if expected is None else expected):
        found["error"] = error
        found["metrics"] = {name: {**about, **NO_VALUE} for name, about in summary["metrics"].items()}
    return found


def _expected(rows: Plain, available: int | None, asked: int) -> int | None:
    """Return n, or None where nobody has said how many rows there are."""
    if rows["declared"] is not None or rows["published"] is None:
        return rows["declared"]
    if rows["reserves"]:
        return asked
    return count(rows["published"] if rows["place"] == "hub" or available is None else available, rows["size"])


def _error(rows: Plain, summary: Plain, asked: int, wanted: int) -> str:
    answered, available = summary["n"], summary.get("available")
    if not answered == asked == wanted:
        lost = f" ({asked - answered} of {asked} unanswered)" if answered != asked else ""
        return f"n: got {asked if answered == wanted else answered}, expected {wanted}{lost}"
    if rows["place"] == "hub" and rows["declared"] is None and _differs(rows, available):
        return f"n: got {available} rows of the split on the hub, expected {rows['published']}"
    return ""


def _notes(rows: Plain, summary: Plain) -> list[str]:
    available, silent = summary.get("available"), summary.get("no_reply")
    notes = [f"{silent} requests without a reply are unscored"] if silent else []
    if rows["place"] == "mirror" and _differs(rows, available):
        notes.append(f"mirror holds {available} of {rows['published']} rows")
    return notes


def _differs(rows: Plain, available: int | None) -> bool:
    """Say whether the split is known to have another number of rows than were published."""
    return None not in (available, rows["published"]) and available != rows["published"]
