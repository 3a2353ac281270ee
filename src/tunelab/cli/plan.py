"""``tunelab plan``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from tunelab.cli.options import STORE, Force, Json, Overrides, Skip, Smoke, SmokeEndpoint, StoreDir, StudyName
from tunelab.cli.say import warn
from tunelab.cli.tables import console
from tunelab.engine.forced import forced, with_forced
from tunelab.engine.plan import Plan, Planned, Status
from tunelab.study.calibrate import calibrate
from tunelab.study.detectable import detectable
from tunelab.study.durations import NOT_MEASURED, Duration, durations, together_lines, written
from tunelab.study.durations import lines as time_lines
from tunelab.study.fitting import Need, gib, lines, needs, room_on
from tunelab.study.footprints import LOADING
from tunelab.study.open import open_study
from tunelab.study.smoke_server import NOT_STARTED

STYLES = {Status.CACHED: "dim", Status.TO_RUN: "", Status.BLOCKED: "red"}


def command(
    study: StudyName,
    overrides: Overrides = None,
    smoke: Smoke = False,
    smoke_endpoint: SmokeEndpoint = False,
    skip: Skip = None,
    force: Force = None,
    measure: Annotated[
        bool,
        typer.Option("--calibrate", help="Measure on a few rows, in a minute at most, how long steps would take."),
    ] = False,
    as_json: Json = False,
    store: StoreDir = STORE,
) -> None:
    """Example: tunelab plan chat-template train=sft_*"""
    server = NOT_STARTED if smoke_endpoint else None
    opened = open_study(study, overrides or [], store, smoke or smoke_endpoint, skip or [], server)
    planned, notices = opened.plan(), dict(opened.compiled.settled.notices)
    again = forced(planned, force or [], opened.store)
    planned = with_forced(planned, again)
    device, room = room_on(planned)
    needed = needs(opened, planned, room)
    unmeasured = calibrate(planned, needed, opened.store, _tell) if measure else {}
    lasting = durations(planned, opened.store)
    if as_json:
        told = {"left_out": dict(opened.compiled.left_out), "notices": notices}
        memory = {"device": device, "available": room}
        seen = {"memory": memory, **told, "detectable": detectable(opened)}
        print(json.dumps({**as_data(planned, needed, lasting, unmeasured), **seen}, indent=1))
        return
    out = console()
    out.print(_steps(planned, needed, lasting))
    said = [*lines(needed, device or ""), *time_lines(planned, lasting, unmeasured), *together_lines(planned)]
    for line in said:
        out.print(escape(line))
    for variant, what in notices.items():
        out.print(escape(f"{variant}: {what}"))
    for cell, reason in opened.compiled.left_out.items():
        out.print(escape(f"{cell} is left out: {reason}"))
    for line in detectable(opened):
        out.print(escape(line))
    counts = [f"{n} {name.replace('_', ' ')}" for name, n in planned.counts().items()]
    out.print(", ".join(counts + ([f"{len(again)} of them forced"] if again else [])))


def _tell(what: str) -> None:
    warn(f"tunelab: {what}")


def as_data(
    planned: Plan, needed: Mapping[str, Need], lasting: Mapping[str, Duration], unmeasured: Mapping[str, str]
) -> dict[str, Any]:
    """Return a plan as plain JSON, with what memory its steps need and how long they would take.

    A time is null for steps that load no model and of which nothing is known.
    """
    steps = [
        {
            "name": p.step.name,
            "kind": p.step.kind,
            "status": p.status.value,
            "reason": p.reason,
            "memory": needed[p.step.fingerprint].as_data() if p.step.fingerprint in needed else None,
            "time": _time(p, lasting, unmeasured),
        }
        for p in planned.steps
    ]
    return {"counts": planned.counts(), "steps": steps}


def _time(p: Planned, lasting: Mapping[str, Duration], unmeasured: Mapping[str, str]) -> dict[str, Any] | None:
    if (found := lasting.get(p.step.fingerprint)) is not None:
        return found.as_data()
    if p.status is not Status.TO_RUN or p.step.entry not in LOADING:
        return None
    return {"unknown": unmeasured.get(p.step.fingerprint, NOT_MEASURED)}


def _steps(planned: Plan, needed: Mapping[str, Need], lasting: Mapping[str, Duration]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("step", "status"):
        table.add_column(name)
    for name in ("memory", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("reason")
    for p in planned.steps:
        need, duration = needed.get(p.step.fingerprint), lasting.get(p.step.fingerprint)
        loads = p.status is Status.TO_RUN and p.step.entry in LOADING
        needs_what = _memory(need) if need else "", written(duration) if duration else "—" if loads else ""
        cells = (p.step.name, p.status.value.replace("_", " "), *needs_what, p.reason)
        table.add_row(*map(escape, cells), style=STYLES[p.status])
    return table


def _memory(need: Need) -> str:
    """Write what a step needs; a dash where that is not known."""
    return "—" if isinstance(need.found, str) else gib(need.found.total)
