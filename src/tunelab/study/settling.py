"""What a study asks for becomes what runs on this machine, before any step is planned.

Identity follows what runs. What was asked, and why it is not what runs, is kept beside it for plan, run and report.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tunelab.scoring.code.sandbox import Choice
from tunelab.study.answering import generates_instead
from tunelab.study.cells import BASE, Cell, Variant
from tunelab.study.machine import Machine, Untouched
from tunelab.tasks.find import find_task
from tunelab.tasks.sandboxed import runs_code

SANDBOX = "code sandbox"
"""What the notice of code without a sandbox is kept under: no variant is called so."""


@dataclass(frozen=True)
class Settled:
    """How untouched models are loaded, and by variant why something else runs than was asked for."""

    untouched: Untouched
    notices: Mapping[str, str]


def settle(cells: Sequence[Cell], machine: Machine, base_weights: str) -> tuple[list[Cell], Settled]:
    """Return the cells with their variants as they run here."""
    trained = {c.variant.name: c.variant.train for c in cells if c.variant.train}
    untouched = machine.untouched(base_weights, trained.values())
    notices = {name: why for name, train in trained.items() if (why := machine.settled(train)[1])}
    notices |= _told({(c.variant.name, why) for c in cells if (why := generates_instead(c, machine.folder))})
    if untouched.notice:
        notices = {BASE: untouched.notice, **notices}
    found = [
        replace(
            cell,
            variant=_settled(cell.variant, machine),
            baseline=cell.baseline and _settled(cell.baseline, machine),
        )
        for cell in cells
    ]
    return found, Settled(untouched, notices)


def without_sandbox(settled: Settled, sandbox: Choice, tasks: Collection[str], folder: Path) -> Settled:
    """Return what is settled with a notice of code that runs with all the rights of whoever runs the study."""
    running = sorted(name for name in tasks if sandbox == "none" and runs_code(find_task(name, folder)))
    told = f"none, as the study asks: what models wrote ran with all rights of its user, for {', '.join(running)}"
    return replace(settled, notices={**settled.notices, SANDBOX: told}) if running else settled


def _told(found: set[tuple[str, str]]) -> dict[str, str]:
    """Return all that is to be told of each variant."""
    return {name: "; ".join(sorted(why for of, why in found if of == name)) for name, _ in sorted(found)}


def _settled(variant: Variant, machine: Machine) -> Variant:
    return replace(variant, train=machine.settled(variant.train)[0]) if variant.train else variant
