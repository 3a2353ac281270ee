"""``tunelab run``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tunelab.cli.interrupt import hear_interrupts
from tunelab.cli.options import (
    RESULTS,
    STORE,
    Force,
    Gate,
    Json,
    Overrides,
    Quiet,
    ResultsDir,
    Skip,
    Smoke,
    SmokeEndpoint,
    StoreDir,
    StudyName,
)
from tunelab.cli.progress import reporter
from tunelab.cli.say import say, warn
from tunelab.cli.tables import console, print_comparison, wrong_denominators
from tunelab.engine.forced import forced, set_aside
from tunelab.engine.record import describe_owed
from tunelab.engine.runner import Outcome, State, artifact_of
from tunelab.engine.store import REPLACED
from tunelab.engine.supervisor import supervised
from tunelab.errors import StudyError
from tunelab.files import read_json
from tunelab.report.served import unlisted
from tunelab.report.wording import counted, listing
from tunelab.study.layout import link_results
from tunelab.study.noted import run_noted
from tunelab.study.open import Opened, only_trained, open_study
from tunelab.study.smoke_server import NOT_STARTED, serving
from tunelab.study.track import track_results

REPORT = Path("report", "index.html")
FAILED, GATE, INTERRUPTED = 1, 3, 130


class Only(StrEnum):
    """Parts of a study that can be run alone."""

    EVALUATE = "evaluate"


def command(
    study: StudyName,
    overrides: Overrides = None,
    smoke: Smoke = False,
    smoke_endpoint: SmokeEndpoint = False,
    skip: Skip = None,
    force: Force = None,
    only: Annotated[
        Only | None, typer.Option("--only", help="evaluate: only variants that are already trained.")
    ] = None,
    gate: Gate = False,
    quiet: Quiet = False,
    as_json: Json = False,
    store: StoreDir = STORE,
    results: ResultsDir = RESULTS,
) -> None:
    """Example: tunelab run quickstart"""

    def found(server: str | None = None) -> Opened:
        return open_study(study, overrides or [], store, smoke or server is not None, skip or [], server)

    def work(since: float | None) -> int:
        again = [] if since else force or []
        with ExitStack() as until_done:
            opened = _served(found, until_done, again) if smoke_endpoint else found()
            if only is Only.EVALUATE:
                whole, opened = opened, only_trained(opened)
                _tell_left_out(whole, opened)
            return run_opened(
                opened, gate=gate, quiet=quiet, as_json=as_json, results=results, force=again, since=since
            )

    sys.exit(supervised(work, store))


def _served(found: Callable[[str], Opened], until_done: ExitStack, force: Sequence[str]) -> Opened:
    """Open a smoke run with a server, which is started where something is left to ask it."""
    opened = found(NOT_STARTED)
    if not opened.is_served:
        raise StudyError(f"--smoke-endpoint: {opened.name} has no model behind a server; use --smoke")
    if not opened.asks_servers() and not force:
        return opened
    hear_interrupts()
    return found(until_done.enter_context(serving()))


def run_opened(
    opened: Opened,
    *,
    gate: bool,
    quiet: bool,
    as_json: bool,
    results: Path,
    force: Sequence[str] = (),
    since: float | None = None,
) -> int:
    """Do what is not done yet, link the results, tell how it ended and return the exit code.

    ``since`` is when this run began, where it goes on with one whose process died.
    """
    for variant, what in opened.compiled.settled.notices.items():
        warn(f"tunelab: {variant}: {what}")
    opened.refuse_blocked()
    for reason in opened.silent_judges():
        warn(f"tunelab: no verdicts: {reason}")
    again = forced(opened.plan(), force, opened.store)
    set_aside(again, opened.store)
    outcome = _run(opened, quiet, as_json, results, since)
    folder = link_results(opened, outcome, results)
    comparison = _comparison(opened, outcome)
    wrong = [*wrong_denominators(comparison), *track_results(opened.compiled.study, folder)]
    for line in [*wrong, *_unlisted(opened, outcome)]:
        warn(f"tunelab: {line}")
    code = _exit_code(outcome, comparison, gate) if not wrong else FAILED
    if as_json:
        _print_end_event(outcome, folder, code, len(again))
    else:
        _print_end(opened, outcome, comparison, folder)
        if again:
            say(f"Forced: {counted(len(again), 'step')}; what they had made is in {opened.store.root / REPLACED}")
    return code


def _tell_left_out(whole: Opened, kept: Opened) -> None:
    """Name the variants that are not evaluated because nobody has trained them yet."""
    left_out = [name for name in whole.compiled.train if name not in kept.compiled.train]
    if left_out:
        warn(f"tunelab: not trained yet, so not evaluated: {', '.join(left_out)}")


def _exit_code(outcome: Outcome, comparison: dict[str, Any], gate: bool) -> int:
    if not outcome.ok or outcome.owed:
        return FAILED
    missed = any(not row["verdict"].startswith("pass") for row in comparison["thresholds"])
    return GATE if gate and missed else 0


def _run(opened: Opened, quiet: bool, as_json: bool, results: Path, since: float | None) -> Outcome:
    hear_interrupts()
    try:
        with reporter(console(), opened.plan(), quiet, as_json) as report:
            return run_noted(opened, report, results, since)
    except KeyboardInterrupt:
        if as_json:
            _print_end_event(None, None, INTERRUPTED)
        warn("tunelab: interrupted; run the same command again to go on: finished steps are kept")
        sys.exit(INTERRUPTED)


def _unlisted(opened: Opened, outcome: Outcome) -> list[str]:
    """Return a line for each served model that its server does not list."""
    made = (artifact_of(opened.store, outcome, planned.step) for planned in opened.plan().steps)
    return [f"{model}: {what}" for model, what in unlisted(found.record for found in made if found).items()]


def _comparison(opened: Opened, outcome: Outcome) -> dict[str, Any]:
    found = artifact_of(opened.store, outcome, opened.compiled.compare)
    return read_json(found.path("comparison.json")) if found else {"cells": [], "thresholds": [{"verdict": "missing"}]}


def _answer(opened: Opened, outcome: Outcome) -> str:
    found = artifact_of(opened.store, outcome, opened.compiled.report)
    return found.record.facts["answer"] if found else ""


def _print_end_event(outcome: Outcome | None, folder: Path | None, code: int, forced: int | None = None) -> None:
    """Write the last line of ``--json``; what is not known after an interrupt is null."""
    counts = {state.value: n for state, n in _counts(outcome).items()} if outcome else None
    report = folder / REPORT if folder else None
    place = str(report) if report and report.exists() else None
    owed = outcome.owed_by_name() if outcome else None
    found = {"counts": counts, "owed": owed, "forced": forced, "report": place, "exit_code": code}
    print(json.dumps({"event": "end", **found}), flush=True)


def _counts(outcome: Outcome) -> dict[State, int]:
    return {state: sum(s is state for s in outcome.states.values()) for state in State}


def _print_end(opened: Opened, outcome: Outcome, comparison: dict[str, Any], folder: Path) -> None:
    out = console()
    if comparison["cells"]:
        print_comparison(out, comparison, opened.compiled.study.question, _answer(opened, outcome))
    parts = [f"{n} {state.value}" for state, n in _counts(outcome).items() if n]
    out.print(f"Steps: {', '.join(parts)}")
    if failed := list(outcome.failures()):
        what = f"{listing(failed)} (the reason stands above)"
        out.print(f"Failed: {what}", style="red", markup=False, soft_wrap=True)
    if owed := outcome.owed_by_name():
        what = "; ".join(f"{name}: {describe_owed(work)}" for name, work in owed.items())
        out.print(
            f"Owed: {what}; run the same command again to ask for them", style="red", markup=False, soft_wrap=True
        )
    report = folder / REPORT
    if report.exists():
        say(f"Report: {report}")
