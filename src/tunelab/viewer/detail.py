"""One step in full: settings, inputs, versions, timings, files, attempts, and the error of the last one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunelab.engine.folder import ATTEMPTS, STEP
from tunelab.engine.step import holes_of
from tunelab.files import read_lines
from tunelab.viewer.files import StoreFiles
from tunelab.viewer.runs import PlannedStep, Run, read_runs
from tunelab.viewer.states import Seen, StepState, identity, look

NOBODY = Run("", "", "", "1970-01-01T00:00:00+00:00", None, None, False, (), {})
"""Stands for the run of a step that no study asks for any more."""


@dataclass(frozen=True)
class StepDetail:
    """What a step's page shows."""

    seen: Seen
    alive: bool
    studies: Sequence[str]
    identity: Mapping[str, Any] | None
    """None for a step that is planned and was never begun."""
    inputs: Mapping[str, str | None]
    """Input name to the step's name, None where the store has no folder of it."""
    holes: Mapping[str, str]
    attempts: Sequence[Mapping[str, Any]]
    failure: Mapping[str, str] | None


def read_detail(files: StoreFiles, name: str) -> StepDetail | None:
    """Read a step by the name of its folder, or by the name that a run planned. None if there is no such step."""
    runs, _ = read_runs(files)
    asking = {run.study: planned for run in runs.values() if (planned := _planned(run, name))}
    seen = _seen(files, name, asking, runs)
    begun_as = files.json(files.step(seen.name) / STEP)
    if begun_as is None and not asking:
        return None
    named: Mapping[str, str | None] = (begun_as or {}).get("inputs", {})
    holes, begun = holes_of(named), files.steps()
    return StepDetail(
        seen=seen,
        alive=any(run.alive for run in runs.values()),
        studies=list(asking),
        identity=begun_as,
        inputs={key: begun.get(f[:8]) for key, f in named.items() if f and key not in holes},
        holes=holes,
        attempts=_attempts(files, seen.name),
        failure=files.failure(seen.name),
    )


def _planned(run: Run, name: str) -> PlannedStep | None:
    """Return the step of a run that is, or has become, the one by a name."""
    names = {step: run.states.get(step.name, {}).get("as", step.name) for step in run.steps}
    return next(
        (step for step, became in names.items() if identity(name) in (identity(step.name), identity(became))), None
    )


def _seen(files: StoreFiles, name: str, asking: Mapping[str, PlannedStep], runs: Mapping[str, Run]) -> Seen:
    """Look at a step through the run that asks for it, or by its folder alone."""
    study, step = next(iter(asking.items()), ("", PlannedStep(name, name.partition("/")[0], ())))
    [seen] = look(replace(runs.get(study, NOBODY), steps=(step,)), files, runs.values())
    failure = files.failure(seen.name)
    if failure and seen.state in (StepState.INTERRUPTED, StepState.NOT_RUN):
        return replace(seen, state=StepState.FAILED, message=failure["error"])
    return seen


def _attempts(files: StoreFiles, name: str) -> list[dict[str, Any]]:
    """Pair the starts and ends of a step's attempts; one that was killed, or still runs, has no end."""
    found: list[dict[str, Any]] = []
    for line in read_lines(files.inside(files.step(name) / ATTEMPTS)):
        if line["event"] == "started":
            found.append({"started": line["time"], "pid": line["pid"], "seconds": None})
        elif found:
            found[-1]["seconds"] = line["seconds"]
    return found
