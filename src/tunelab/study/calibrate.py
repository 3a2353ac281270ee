"""Measuring the time of a plan's steps on this machine, in a process of its own and within a bounded time.

One step of each sort is measured, of those that no finished step and no earlier measurement says anything of. What
would not fit into memory is not loaded. The process is ended when the time is over: what it had measured is kept.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic, perf_counter

from tunelab.canonical import canonical
from tunelab.engine.plan import Plan, Status
from tunelab.engine.step import Step
from tunelab.engine.store import Store
from tunelab.errors import TunelabError
from tunelab.study.calibration import Calibrations, Measured, sort_of, texts_of
from tunelab.study.durations import MEASURED, durations
from tunelab.study.fitting import Need
from tunelab.study.footprints import Footprint, Work
from tunelab.study.rehearsal import Rehearsal, rows_of

SECONDS = 60.0
LOADED = ("tunelab.study.steps.train", "tunelab.study.steps.generate", "peft")
"""What is loaded before anything is measured."""


def calibrate(
    planned: Plan, needed: Mapping[str, Need], store: Store, tell: Callable[[str], None], seconds: float = SECONDS
) -> dict[str, str]:
    """Measure what nothing is known of and keep it in the store; return why the rest was not, by fingerprint."""
    asked = unknown(planned, store)
    refused = {step.fingerprint: why for step in asked if (why := refusal(step, needed.get(step.fingerprint), store))}
    if not (steps := one_of_each([step for step in asked if step.fingerprint not in refused])):
        return refused
    tell(f"measuring {len(steps)} of the plan's steps on a few rows, {seconds:.0f} s at most{_busy()}")
    works = {f: need.found.work for f, need in needed.items() if isinstance(need.found, Footprint)}
    failed = _measured(steps, works, store, tell, seconds)
    sorts = {canonical(sort_of(step)): failed[step.fingerprint] for step in steps if step.fingerprint in failed}
    return refused | {step.fingerprint: why for step in asked if (why := sorts.get(canonical(sort_of(step))))}


def unknown(planned: Plan, store: Store) -> list[Step]:
    """Return the train and generate steps that are to run here and of which no finished step of their model tells."""
    known = durations(planned, store)
    to_run = [p.step for p in planned.steps if p.status is Status.TO_RUN and p.step.entry in MEASURED]
    return [s for s in to_run if (found := known.get(s.fingerprint)) is None or not found.same_model]


def refusal(step: Step, need: Need | None, store: Store) -> str | None:
    """Return why a step is not tried."""
    if need is None or isinstance(need.found, str):
        return "what memory it needs is not known"
    if need.fits is False:
        return "it would not fit into memory"
    if step.settings.get("reward", {}).get("judges"):
        return "its reward asks judges"
    if step.circumstance.get("sandbox") == "none":
        return "its reward runs code without a sandbox"
    if not rows_of(step, store, 1):
        return "its rows are not prepared; tunelab data prepare makes those of trainings"
    return None


def one_of_each(steps: Sequence[Step]) -> list[Step]:
    """Return one step of each sort, then one for each further task and format that is answered."""
    sorts, texts = dict[str, Step](), dict[str, Step]()
    for step in steps:
        sorts.setdefault(canonical(sort_of(step)), step)
        if step.kind == "generate":
            texts.setdefault(canonical([sort_of(step), texts_of(step)]), step)
    return list({step.fingerprint: step for step in (*sorts.values(), *texts.values())}.values())


def _busy() -> str:
    """Say that other work slows down what is measured, where there is more than the processors can do."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    return f"; this machine is busy (load {load:.0f} on {cores} cores), and so are the times" if load > cores else ""


def _measured(
    steps: Sequence[Step], works: Mapping[str, Work], store: Store, tell: Callable[[str], None], seconds: float
) -> dict[str, str]:
    """Let a process measure the steps; return why some of them were not, by fingerprint."""
    end, kept, refused = monotonic() + seconds, Calibrations(store), dict[str, str]()
    left = {step.fingerprint: step.name for step in steps}
    with (
        tempfile.TemporaryDirectory(prefix="tunelab-") as folder,
        _process(steps, works, store, Path(folder)) as answers,
    ):
        while left and answers.poll(max(0.0, end - monotonic())):
            try:
                fingerprint, found = answers.recv()
            except EOFError:
                return refused | dict.fromkeys(left, "the process that measured ended before it")
            tell(f"{left.pop(fingerprint)}: {found if isinstance(found, str) else 'measured'}")
            if isinstance(found, str):
                refused[fingerprint] = found
            else:
                kept.keep(found)
    return refused | dict.fromkeys(left, f"it was not done within {seconds:.0f} s")


@contextmanager
def _process(steps: Sequence[Step], works: Mapping[str, Work], store: Store, folder: Path) -> Generator[Connection]:
    """Start what measures, and give what its answers come from; it is ended afterwards, whatever it does."""
    fresh = multiprocessing.get_context("spawn")
    here, there = fresh.Pipe(duplex=False)
    process = fresh.Process(target=_work, args=(steps, works, store.root.absolute(), folder, there), daemon=True)
    process.start()
    there.close()
    try:
        yield here
    finally:
        process.kill()
        process.join()


def _work(steps: Sequence[Step], works: Mapping[str, Work], root: Path, folder: Path, answers: Connection) -> None:
    """Measure one step after the other, and send what was found; what libraries print is nobody's."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    began = perf_counter()
    for name in LOADED:
        importlib.import_module(name)
    rehearsal = Rehearsal(Store(root), folder, works, perf_counter() - began)
    for step in steps:
        try:
            found: Measured | str = rehearsal.measure(step)
        except TunelabError as error:
            found = str(error)
        answers.send((step.fingerprint, found))
