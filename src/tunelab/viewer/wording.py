"""Times, shares and states as the viewer's pages write them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tunelab.viewer.states import Seen, StepState, elapsed, seconds_left

MARKS = {
    StepState.RUNNING: "▶ running",
    StepState.QUEUED: "· queued",
    StepState.DONE: "✓ done",
    StepState.CACHED: "= cached",
    StepState.FAILED: "✗ failed",
    StepState.BLOCKED: "– blocked",
    StepState.INTERRUPTED: "! interrupted",
    StepState.NOT_RUN: "○ not run",
}
"""A state is a word and a sign, so that it can be read without colour."""


def duration(seconds: float) -> str:
    """Write a duration with its two largest units."""
    if seconds < 0.1:
        return "< 0.1 s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"


def moment(text: str | None) -> str:
    """Write a time of a record or a journal, in UTC to the second."""
    if not text:
        return "—"
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def size(count: int) -> str:
    """Write a number of bytes."""
    for unit, bytes_of in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= bytes_of:
            return f"{count / bytes_of:.1f} {unit}"
    return f"{count} B"


def done_share(progress: Mapping[str, Any] | None) -> float:
    """Return how much of a running step is done, from 0 to 1."""
    if not progress or not progress.get("total"):
        return 0.0
    return min(1.0, progress["done"] / progress["total"])


def note(seen: Seen) -> str:
    """Say in a few words what is to be said of a step beside its state."""
    if seen.state is StepState.RUNNING:
        return running(seen.progress)
    if seen.message:
        return seen.message
    return duration(seen.record.seconds) if seen.record else ""


def running(progress: Mapping[str, Any] | None) -> str:
    """Say how far a running step is and how long the rest takes at its speed so far."""
    if not progress:
        return "by another process"
    parts = [f"{progress['done']:,} of {progress['total']:,} {progress['unit']}"] if "done" in progress else []
    parts.append(f"for {duration(elapsed(progress))}")
    left = seconds_left(progress)
    return ", ".join([*parts, *([f"about {duration(left)} left"] if left is not None else [])])


def short(seen: Seen) -> str:
    """Say the same within the width of a box of the plan, with the step's kind where there is room."""
    if seen.state is StepState.RUNNING:
        left = seconds_left(seen.progress) if seen.progress else None
        rest = f", {duration(left)} left" if left is not None else ""
        return f"▶ {done_share(seen.progress):.0%}{rest}"
    took = f" {duration(seen.record.seconds)}" if seen.state is StepState.DONE and seen.record else ""
    return f"{seen.step.kind}  {MARKS[seen.state]}{took}"
