"""``tunelab plan``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from tunelab.cli.options import STORE, Force, Json, Overrides, Skip, Smoke, SmokeEndpoint, StoreDir, StudyName
from tunelab.cli.tables import console
from tunelab.engine.forced import forced, with_forced
from tunelab.engine.plan import Plan, Status
from tunelab.engine.record import Artifact
from tunelab.models.available import available_memory
from tunelab.study.cells import Evaluation
from tunelab.study.denominators import planned_rows
from tunelab.study.durations import Duration, clock, durations
from tunelab.study.durations import lines as time_lines
from tunelab.study.fitting import Need, device_of, gib, lines, needs
from tunelab.study.open import Opened, open_study
from tunelab.study.smoke_server import NOT_STARTED
from tunelab.study.worked_examples import joins
from tunelab.tasks.find import find_task

STYLES = {Status.CACHED: "dim", Status.TO_RUN: "", Status.BLOCKED: "red"}
DISCORDANCE = 0.1


def command(
    study: StudyName,
    overrides: Overrides = None,
    smoke: Smoke = False,
    smoke_endpoint: SmokeEndpoint = False,
    skip: Skip = None,
    force: Force = None,
    as_json: Json = False,
    store: StoreDir = STORE,
) -> None:
    """Example: tunelab plan chat-template train=sft_*"""
    server = NOT_STARTED if smoke_endpoint else None
    opened = open_study(study, overrides or [], store, smoke or smoke_endpoint, skip or [], server)
    planned, notices = opened.plan(), dict(opened.compiled.settled.notices)
    again = forced(planned, force or [], opened.store)
    planned = with_forced(planned, again)
    device = device_of(planned)
    room = available_memory(device) if device else None
    needed, lasting = needs(opened, planned, room), durations(planned, opened.store)
    if as_json:
        told = {"left_out": dict(opened.compiled.left_out), "notices": notices}
        memory = {"device": device, "available": room}
        print(json.dumps({**as_data(planned, needed, lasting), "memory": memory, **told}, indent=1))
        return
    out = console()
    out.print(_steps(planned, needed, lasting))
    for line in [*lines(needed, device or ""), *time_lines(planned, lasting)]:
        out.print(escape(line))
    for variant, what in notices.items():
        out.print(escape(f"{variant}: {what}"))
    for cell, reason in opened.compiled.left_out.items():
        out.print(escape(f"{cell} is left out: {reason}"))
    for line in detectable(opened):
        out.print(escape(line))
    counts = [f"{n} {name.replace('_', ' ')}" for name, n in planned.counts().items()]
    out.print(", ".join(counts + ([f"{len(again)} of them forced"] if again else [])))


def as_data(planned: Plan, needed: Mapping[str, Need], lasting: Mapping[str, Duration]) -> dict[str, Any]:
    """Return a plan as plain JSON, with what memory its steps need and how long they would take."""
    steps = [
        {
            "name": p.step.name,
            "kind": p.step.kind,
            "status": p.status.value,
            "reason": p.reason,
            "memory": needed[p.step.fingerprint].as_data() if p.step.fingerprint in needed else None,
            "time": lasting[p.step.fingerprint].as_data() if p.step.fingerprint in lasting else None,
        }
        for p in planned.steps
    ]
    return {"counts": planned.counts(), "steps": steps}


def detectable(opened: Opened) -> list[str]:
    """Return a line per evaluation: the smallest difference it would see in 80 of 100 studies.

    Rows that share a cluster, such as translations of a question, are one independent item. How many there are is known
    once they are prepared.
    """
    from tunelab.stats import minimum_detectable_effect

    declared = {cell["cell"]: cell["rows"] for cell in opened.compiled.compare.settings["cells"]}
    lines: dict[str, str] = {}
    for cell in opened.compiled.cells:
        found = opened.store.find(opened.compiled.scores[cell.name].inputs["rows"])
        n = found.record.facts["receipt"]["rows"] if found else planned_rows(declared[cell.name])
        name = cell.evaluation.name
        if n is not None:
            independent = _independent(found) if found else n
            effect = minimum_detectable_effect(independent, DISCORDANCE, alpha=opened.compiled.study.alpha)
            what = f"{n} items" if independent == n else f"{independent} independent items, of {n} rows,"
            proviso = "" if found or not _translated(opened, cell.evaluation) else ", and if all rows are independent"
            lines[name] = (
                f"evaluate.{name}: {what} see a difference of {effect:.3f} if {DISCORDANCE:.0%} of them change{proviso}"
            )
        else:
            lines[name] = f"evaluate.{name}: the number of items is known once its rows are prepared"
    return list(lines.values())


def _independent(rows: Artifact) -> int:
    """Count prepared rows, those of a cluster as one."""
    from tunelab.study.steps.rows import read_samples
    from tunelab.study.steps.score import cluster_of

    return len({("cluster", cluster_of(s)) if cluster_of(s) is not None else ("row", s.id) for s in read_samples(rows)})


def _translated(opened: Opened, evaluation: Evaluation) -> bool:
    """Say whether an evaluation is known, without its rows, to ask questions in several languages."""
    task = find_task(evaluation.task, opened.compiled.folder)
    return joins(task, evaluation.settings.split or task.test_split)


def _steps(planned: Plan, needed: Mapping[str, Need], lasting: Mapping[str, Duration]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("step", "status"):
        table.add_column(name)
    for name in ("memory", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("reason")
    for p in planned.steps:
        need, duration = needed.get(p.step.fingerprint), lasting.get(p.step.fingerprint)
        needs_what = _memory(need) if need else "", clock(duration.seconds) if duration else ""
        cells = (p.step.name, p.status.value.replace("_", " "), *needs_what, p.reason)
        table.add_row(*map(escape, cells), style=STYLES[p.status])
    return table


def _memory(need: Need) -> str:
    """Write what a step needs; a dash where that is not known."""
    return "—" if isinstance(need.found, str) else gib(need.found.total)
