"""Steps that run at once: they are claimed one by one, run by one function, and kept as if each had run by itself.

Each has its own lease, attempt and record; what they take is divided among them. Whatever goes wrong is no failure of
any of them: each is then run by itself, with the reason in its context.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunelab.engine.attempt import Attempt
from tunelab.engine.context import StepContext
from tunelab.engine.folder import SCRATCH
from tunelab.engine.lease import Lease
from tunelab.engine.step import Step
from tunelab.engine.store import Store
from tunelab.errors import LeaseLost

if TYPE_CHECKING:
    from tunelab.engine.runner import Reporter


@dataclass(frozen=True)
class Claimed:
    """A step that this process alone may run."""

    step: Step
    lease: Lease


@contextmanager
def claimed(steps: Sequence[Step], store: Store, stays_out: Callable[[Step], bool]) -> Generator[list[Claimed]]:
    """Claim the steps that are neither done, nor run elsewhere, nor to stay out, for as long as the block runs."""
    with ExitStack() as until_done:
        group: list[Claimed] = []
        for step in steps:
            if store.find(step) or not (lease := store.claim(step)):
                continue
            until_done.callback(lease.release)
            if not stays_out(step) and not store.find(step):
                group.append(Claimed(step, lease))
        yield group


def context_of(one: Claimed, store: Store, reporter: Reporter, alone: str = "") -> StepContext:
    """Return what a claimed step may use. Its sign of progress raises LeaseLost once another process has taken it."""
    step, lease = one.step, one.lease

    def progress(done: int, total: int, unit: str) -> None:
        if lease.lost:
            raise LeaseLost(f"{step.name}: another process took this step over; its result is used instead")
        reporter.progressed(step, done, total, unit)

    return StepContext(
        settings=step.settings,
        circumstance=step.circumstance,
        inputs={name: store.open(needed) for name, needed in step.inputs.items()},
        holes=step.holes,
        directory=store.directory(step),
        progress=progress,
        alone=alone,
    )


def complete(one: Claimed, context: StepContext, attempt: Attempt, store: Store) -> None:
    """Keep what a step has made."""
    store.complete(one.step, one.lease, {**attempt.record(context.facts), "owed": context.owed})
    shutil.rmtree(context.directory / SCRATCH, ignore_errors=True)


def run_at_once(group: Sequence[Claimed], store: Store, reporter: Reporter) -> str:
    """Run steps of one key at once; return why each is to run by itself, empty where all are done."""
    assert group[0].step.together is not None
    contexts = [context_of(one, store, reporter) for one in group]
    work = group[0].step.together.function()(contexts)
    if isinstance(work, str):
        return work
    _run(work, group, contexts, store, reporter)
    return ""


def _run(
    work: Callable[[], None],
    group: Sequence[Claimed],
    contexts: Sequence[StepContext],
    store: Store,
    reporter: Reporter,
) -> None:
    for one in group:
        reporter.started(one.step)
    with ExitStack() as until_ended:
        attempts = [
            until_ended.enter_context(closing(Attempt(context.directory, at_once=len(group)))) for context in contexts
        ]
        work()
        for one, context, attempt in zip(group, contexts, attempts, strict=True):
            complete(one, context, attempt, store)
