"""Live progress: one reporter for a terminal, one for logs, one for machines, one for quiet."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tunelab.cli.say import warn
from tunelab.engine.plan import Plan
from tunelab.engine.runner import Reporter, State
from tunelab.engine.step import Step
from tunelab.visible import visible

MARKS = {State.DONE: "✓", State.CACHED: "=", State.FAILED: "✗", State.BLOCKED: "–"}


class QuietReporter:
    """Says nothing but failures, on standard error."""

    def started(self, step: Step) -> None:
        """Say nothing."""

    def progressed(self, step: Step, done: int, total: int, unit: str) -> None:
        """Say nothing."""

    def ended(self, step: Step, state: State, message: str) -> None:
        """Name a step that failed and why."""
        if state is State.FAILED:
            warn(f"tunelab: {step.name} failed: {message}")


class JsonReporter:
    """One JSON object a line on standard output."""

    def started(self, step: Step) -> None:
        """Write a started event."""
        self._write(event="started", step=step.name)

    def progressed(self, step: Step, done: int, total: int, unit: str) -> None:
        """Write a progress event."""
        self._write(event="progress", step=step.name, done=done, total=total, unit=unit)

    def ended(self, step: Step, state: State, message: str) -> None:
        """Write an ended event."""
        self._write(event="ended", step=step.name, state=state.value, message=message)

    def _write(self, **event: object) -> None:
        print(json.dumps(event), flush=True)


class LineReporter:
    """A line when a step ends, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began: dict[str, float] = {}

    def started(self, step: Step) -> None:
        """Remember when."""
        self._began[step.fingerprint] = time.monotonic()

    def progressed(self, step: Step, done: int, total: int, unit: str) -> None:
        """Say nothing."""

    def ended(self, step: Step, state: State, message: str) -> None:
        """Write the step's line."""
        if state is State.CACHED:
            return
        took = time.monotonic() - self._began.get(step.fingerprint, time.monotonic())
        note = f"{took:.1f} s" if state is State.DONE else message
        style = "" if state is State.DONE else "red"
        self._console.print(f"{MARKS[state]} {escape(step.name)}  {escape(note)}", style=style, highlight=False)


class LiveReporter(LineReporter):
    """Bars for the study and the running step, above them a line for every step that ended."""

    def __init__(self, console: Console, bars: Progress, total: int) -> None:
        super().__init__(console)
        self._bars = bars
        self._study = bars.add_task("steps", total=total, speed="")
        self._step = bars.add_task("", total=None, visible=False, speed="")

    def started(self, step: Step) -> None:
        """Show the step's bar."""
        super().started(step)
        self._bars.reset(
            self._step, description=escape(visible(step.name)), total=None, completed=0, visible=True, speed=""
        )

    def progressed(self, step: Step, done: int, total: int, unit: str) -> None:
        """Move the step's bar."""
        took = max(time.monotonic() - self._began[step.fingerprint], 1e-3)
        self._bars.update(self._step, completed=done, total=total, speed=f"{done / took:.1f} {unit}/s")

    def ended(self, step: Step, state: State, message: str) -> None:
        """Move the study's bar."""
        self._bars.update(self._step, visible=False)
        self._bars.advance(self._study)
        super().ended(step, state, message)


@contextmanager
def reporter(console: Console, plan: Plan, quiet: bool, as_json: bool) -> Generator[Reporter]:
    """Choose the reporter for where the output goes."""
    if as_json:
        yield JsonReporter()
    elif quiet:
        yield QuietReporter()
    elif not console.is_terminal:
        yield LineReporter(console)
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
        )
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as bars:
            yield LiveReporter(console, bars, len(plan.steps))
