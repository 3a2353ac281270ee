"""Which studies a store has: the notes that runs leave, and the reports of runs from before there were any."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunelab.engine.journal import PROGRESS, RUN, RUNS, is_alive
from tunelab.engine.record import Record
from tunelab.errors import StoreError
from tunelab.viewer.files import Outside, StoreFiles


@dataclass(frozen=True)
class PlannedStep:
    """A step as its run planned it; ``needs`` are names."""

    name: str
    kind: str
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """One run of a study, the latest that is known."""

    study: str
    question: str
    results: str
    started: str
    ended: str | None
    end: str | None
    """How it ended, as a journal says it; None while it runs, and after a kill."""
    alive: bool
    steps: tuple[PlannedStep, ...]
    states: Mapping[str, Mapping[str, str]]
    progress: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """How far the step is that it is at, or was at when it was cut short."""


def read_runs(files: StoreFiles) -> tuple[dict[str, Run], list[str]]:
    """Return the run of each study by its name, newest first, and a line for each note that cannot be read.

    Of several runs of a study one that goes on counts, then the one that began last.
    """
    problems: list[str] = []
    runs = sorted(_noted(files, problems), key=lambda run: (run.alive, run.started))
    noted = {run.study: run for run in runs}
    found = {**{run.study: run for run in _older(files, noted)}, **noted}
    newest = sorted(found.values(), key=lambda run: (run.alive, run.started), reverse=True)
    return {run.study: run for run in newest}, problems


def _noted(files: StoreFiles, problems: list[str]) -> Iterator[Run]:
    for folder in sorted((files.root / RUNS).glob("*")):
        try:
            note = files.json(folder / RUN)
            if note is None:
                continue
            alive = is_alive(note, folder)
            yield _run(note, alive, files.json(folder / PROGRESS) or {})
        except (StoreError, Outside, KeyError, TypeError, AttributeError) as error:
            problems.append(f"{folder.name}/{RUN}: not what a run writes there ({type(error).__name__}: {error})")


def _run(note: Mapping[str, Any], alive: bool, progress: Mapping[str, Any]) -> Run:
    steps = tuple(PlannedStep(s["name"], s["kind"], tuple(s["needs"])) for s in note["steps"])
    texts = {key: note[key] for key in ("study", "question", "results", "started", "ended", "end")}
    return Run(**texts, alive=alive, steps=steps, states=note["states"], progress=progress)


def _older(files: StoreFiles, noted: Collection[str]) -> Iterator[Run]:
    """Other studies that left a report, as their records have them: all of it is finished."""
    reports = sorted(files.records("report"), key=lambda found: found[1].finished)
    named = {str(record.settings["study"]["study"]): (name, record) for name, record in reports}
    by_study = {study: found for study, found in named.items() if study not in noted}
    names = files.steps() if by_study else {}
    for study, (name, record) in by_study.items():
        steps = tuple(_behind(files, name, record, names))
        question = str(record.settings["study"]["question"])
        done = {step.name: {"state": "done", "as": step.name} for step in steps}
        yield Run(study, question, "", record.started, record.finished, "over", False, steps, done)


def _behind(files: StoreFiles, name: str, report: Record, names: Mapping[str, str]) -> list[PlannedStep]:
    """Return a report's step and all that it was made of, inputs first."""
    ordered: dict[str, PlannedStep] = {}

    def visit(name: str, record: Record) -> None:
        needs = [names[f[:8]] for f in record.inputs.values() if f and f[:8] in names]
        for needed in dict.fromkeys(needs):
            try:
                found = files.record(needed) if needed not in ordered else None
            except (StoreError, Outside):
                ordered[needed] = PlannedStep(needed, needed.partition("/")[0], ())
                continue
            if found:
                visit(needed, found)
        ordered[name] = PlannedStep(name, record.kind, tuple(dict.fromkeys(n for n in needs if n in ordered)))

    visit(name, report)
    return list(ordered.values())
