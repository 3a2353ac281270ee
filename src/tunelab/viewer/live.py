"""What changes on a page while a study runs, as one flat map: a key for each such place, and what stands there.

A page is written with these values, and its script asks for the map once a second and puts them in again, so the two
cannot disagree. Polling was chosen over a stream of events: it survives sleeping laptops and broken tunnels, needs no
state on either side, and an answer takes some milliseconds. What a page has places for depends on the plan alone, which
is ``shape``: when a new run has another, the page loads itself anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tunelab.engine.journal import CRASHED, INTERRUPTED
from tunelab.engine.record import Record
from tunelab.report.wording import DASH, interval
from tunelab.viewer.curves import METRICS, SERIES, Curves, draw
from tunelab.viewer.files import StoreFiles
from tunelab.viewer.graph import BOX
from tunelab.viewer.runs import Run
from tunelab.viewer.states import FINISHED, Seen, StepState, counts
from tunelab.viewer.wording import MARKS, done_share, moment, note, short

SOON, LATER = 1, 3
"""Seconds until a page asks again: while a study runs, and when it does not."""

TRACK = 200
"""The length of the line that a score is shown on."""

ENDS = {None: "its process is gone", INTERRUPTED: "somebody stopped it", CRASHED: "an error ended it"}
WORDS = {"running": "▶ running", "interrupted": "! interrupted", "finished": "✓ finished", "failed": "✗ failed"}

Piece = dict[str, Any]
"""``text``, ``state``, ``hidden``, and ``set``: attributes by name. All are optional."""

Pieces = dict[str, Piece]


def study_pieces(run: Run, seen: Sequence[Seen], files: StoreFiles, curves: Curves) -> Pieces:
    """Return what changes on a study's page."""
    found: Pieces = dict(_head(run, seen))
    for step in seen:
        found |= step_pieces(step)
        if step.step.kind == "train":
            found |= curve_pieces(step, files, curves)
        if step.step.kind == "score":
            found |= _result_pieces(step)
    return found


def study_row(run: Run, seen: Sequence[Seen]) -> Pieces:
    """Return what changes of a study in the list of all."""
    number, state = counts(seen), run_state(run, seen)
    told = ", ".join(f"{count} {kind.value}" for kind, count in number.items() if count)
    return {
        f"run {run.study}": {"text": WORDS[state], "state": state},
        f"counts {run.study}": {"text": told},
        f"changed {run.study}": {"text": moment(_changed(run, seen))},
        f"report {run.study}": {"hidden": report_of(seen) is None},
    }


def _changed(run: Run, seen: Iterable[Seen]) -> str:
    """Return when a run last finished a step, or began or ended."""
    return max([run.started, run.ended or "", *(s.record.finished for s in seen if s.record and run.alive)])


def run_state(run: Run, seen: Iterable[Seen]) -> str:
    """Return in a word how a run is."""
    if run.alive:
        return "running"
    if run.end != "over":
        return "interrupted"
    return "finished" if all(s.state in FINISHED for s in seen) else "failed"


def shape(parts: Iterable[str]) -> str:
    """Return a digest of what a page has places for."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def step_pieces(seen: Seen) -> Pieces:
    """Return what changes about one step: in the plan, in the table and on its own page."""
    key, state = seen.step.name, seen.state.value
    share = done_share(seen.progress) if seen.state is StepState.RUNNING else 0.0
    return {
        f"box {key}": {"state": state},
        f"short {key}": {"text": short(seen)},
        f"fill {key}": {"set": {"width": f"{share * (BOX[0] - 4):.0f}"}},
        f"state {key}": {"text": MARKS[seen.state], "state": state},
        f"note {key}": {"text": note(seen), "state": state},
        f"bar {key}": {"hidden": seen.state is not StepState.RUNNING, "set": {"value": f"{share:.4f}"}},
        f"now {key}": {"hidden": seen.state is not StepState.RUNNING},
        f"failure {key}": {"hidden": seen.state is not StepState.FAILED},
        f"error {key}": {"text": seen.message if seen.state is StepState.FAILED else ""},
    }


def _head(run: Run, seen: Sequence[Seen]) -> Iterator[tuple[str, Piece]]:
    number, state = counts(seen), run_state(run, seen)
    finished = sum(number[s] for s in FINISHED)
    yield "run", {"text": _sentence(run, state), "state": state}
    yield "finished", {"text": f"{finished} of {len(seen)} steps finished"}
    yield "whole", {"set": {"value": str(finished), "max": str(max(1, len(seen)))}}
    for kind in StepState:
        yield f"kind {kind.value}", {"hidden": not number[kind]}
        yield f"count {kind.value}", {"text": str(number[kind])}
    yield "failures", {"hidden": not number[StepState.FAILED]}
    answer = report_of(seen)
    yield "report", {"hidden": answer is None}
    yield "answer", {"text": str(answer.facts.get("answer", "")) if answer else "", "hidden": answer is None}


def report_of(seen: Iterable[Seen]) -> Record | None:
    """Return the record of a run's report, None as long as there is none."""
    return next((s.record for s in seen if s.step.kind == "report" and s.record), None)


def _sentence(run: Run, state: str) -> str:
    if state == "running":
        return f"▶ running since {moment(run.started)}"
    if state == "interrupted":
        return f"! interrupted: {ENDS[run.end]}; begun {moment(run.started)}. The same command goes on with it"
    mark = "✓ finished" if state == "finished" else "✗ ended with steps that have no result"
    return f"{mark}, {moment(run.ended)}"


def curve_pieces(seen: Seen, files: StoreFiles, curves: Curves) -> Pieces:
    """Return the curves of a training step."""
    path, found = files.inside(files.step(seen.name) / METRICS), dict[str, Piece]()
    series = curves.of(path)
    found[f"none {seen.step.name}"] = {"hidden": bool(series), "text": "nothing logged yet"}
    for name in SERIES:
        key, points = f"{name} {seen.step.name}", series.get(name)
        found[f"figure {key}"] = {"hidden": not points}
        drawn = draw(points) if points else None
        found[f"line {key}"] = {"set": {"points": drawn.points if drawn else ""}}
        found[f"dot {key}"] = {"set": {"cx": drawn.x if drawn else "0", "cy": drawn.y if drawn else "0"}}
        found |= {
            f"{text} {key}": {"text": getattr(drawn, text) if drawn else ""}
            for text in ("last", "low", "high", "steps")
        }
    return found


def _result_pieces(seen: Seen) -> Pieces:
    """A score with its interval; what is not there yet says so."""
    key, facts = seen.step.name, seen.record.facts if seen.record else {}
    metric, found = next(iter(facts.get("metrics", {}).items()), ("", {}))
    value, low, high = (found.get(part) for part in ("value", "low", "high"))
    outcomes: Mapping[str, int] = facts.get("outcomes", {})
    return {
        f"metric {key}": {"text": metric},
        f"value {key}": {"text": DASH if value is None else f"{value:.3f}"},
        f"interval {key}": {"text": interval({"low": low, "high": high})},
        f"n {key}": {"text": f"{facts['n']:,}" if "n" in facts else DASH},
        f"outcomes {key}": {"text": ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in outcomes.items() if n)},
    } | _track(key, value, low, high)


def _track(key: str, value: float | None, low: float | None, high: float | None) -> Pieces:
    """Draw a score and its interval on a line from 0 to 1; scores of another range have none."""
    if value is None or low is None or high is None or low < 0 or high > 1:
        return {f"track {key}": {"hidden": True}, f"range {key}": {}, f"mark {key}": {}}
    return {
        f"track {key}": {"hidden": False},
        f"range {key}": {"set": {"x": f"{low * TRACK:.1f}", "width": f"{max(1.0, (high - low) * TRACK):.1f}"}},
        f"mark {key}": {"set": {"x": f"{value * TRACK - 1:.1f}"}},
    }
