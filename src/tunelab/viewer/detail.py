"""One step in full: settings, inputs, versions, timings, files, attempts, and the error of the last one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunelab.engine.folder import ATTEMPTS, STEP
from tunelab.engine.step import holes_of
from tunelab.files import read_lines
from tunelab.viewer.files import StoreFiles
from tunelab.viewer.runs import PlannedStep, Run, read_runs
from tunelab.viewer.states import Seen, StepState, look


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
    asking = [run for run in runs.values() if any(step.name == name for step in run.steps)]
    identity = files.json(files.step(name) / STEP)
    if identity is None and not asking:
        return None
    named: Mapping[str, str | None] = (identity or {}).get("inputs", {})
    holes, begun = holes_of(named), files.steps()
    return StepDetail(
        seen=_seen(files, name, asking, runs),
        alive=any(run.alive for run in runs.values()),
        studies=[run.study for run in asking],
        identity=identity,
        inputs={key: begun.get(f[:8]) for key, f in named.items() if f and key not in holes},
        holes=holes,
        attempts=_attempts(files, name),
        failure=files.failure(name),
    )


def _seen(files: StoreFiles, name: str, asking: Sequence[Run], runs: Mapping[str, Run]) -> Seen:
    """Look at a step through the run that asks for it, or by its folder alone."""
    run = asking[0] if asking else Run("", "", "", "1970-01-01T00:00:00+00:00", None, None, False, (), {})
    step = PlannedStep(name, name.partition("/")[0], ())
    planned = next((s for s in run.steps if s.name == name), step)
    alone = Run(**{**vars(run), "steps": (planned,)})
    [seen] = look(alone, files, runs.values())
    failed = files.failure(name)
    if seen.state in (StepState.INTERRUPTED, StepState.NOT_RUN) and failed:
        return Seen(step, name, StepState.FAILED, failed["error"])
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
