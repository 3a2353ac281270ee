"""What a plan's steps would need of the memory that there is, and what to turn where that is not enough.

It is an estimate, and stops nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunelab.engine.plan import Plan, Status
from tunelab.engine.step import Step
from tunelab.models.device import Device
from tunelab.study.cells import plain_name
from tunelab.study.compile import Compiled
from tunelab.study.footprints import GIB, Footprint, as_it_runs, footprint, room_of
from tunelab.study.longest import Longest
from tunelab.study.open import Opened
from tunelab.study.remedies import Remedy, remedy

SHOWN, SMALLEST = 2, GIB // 20
"""Parts that a line names, and the bytes of one besides the largest: less is written as nothing."""
NAMED = 3
"""Steps that a line names where several need the same."""


@dataclass(frozen=True)
class Need:
    """What a step that is still to run would need, or why that is not known, and what would make it fit."""

    step: Step
    found: Footprint | str
    room: int | None = None
    """Bytes that there are, where that is known."""
    remedy: Remedy | None = None
    unchecked: int | None = None
    """What it would need without the gradient checkpointing that is switched on for it."""

    @property
    def fits(self) -> bool | None:
        """Whether there is enough; None where either side is not known."""
        if isinstance(self.found, str) or self.room is None:
            return None
        return self.found.total <= self.room

    def as_data(self) -> dict[str, Any]:
        """Return it as plain JSON; sizes are bytes."""
        if isinstance(self.found, str):
            return {"unknown": self.found}
        told = self.remedy and {"settings": dict(self.remedy.settings), "bytes": self.remedy.total}
        sizes = {"bytes": self.found.total, "parts": self.found.parts, "assumed": self.found.assumed or None}
        return {**sizes, "fits": self.fits, "remedy": told, "without_checkpointing": self.unchecked}


def needs(opened: Opened, planned: Plan, room: int | None) -> dict[str, Need]:
    """Return, by fingerprint, what every step that is to run and loads a model needs of ``room`` bytes."""
    longest, entries = Longest(opened.store), _entries(opened.compiled)
    found: dict[str, Need] = {}
    for step in (p.step for p in planned.steps if p.status is Status.TO_RUN):
        if (made := footprint(step, longest)) is not None:
            found[step.fingerprint] = _need(step, made, room, entries.get(step.fingerprint))
    return found


def _need(step: Step, found: Footprint | str, room: int | None, entry: str | None) -> Need:
    if isinstance(found, str):
        return Need(step, found, room)
    if (work := as_it_runs(found.work, room)) is not found.work:
        return Need(step, replace(found, work=work), room, unchecked=found.total)
    need = Need(step, found, room)
    if room is None or need.fits:
        return need
    return Need(step, found, room, remedy(found.work, room, entry, step.circumstance["hardware"]))


def _entries(compiled: Compiled) -> dict[str, str]:
    """Return what the study calls train and generate steps, as the path of their settings, by fingerprint."""
    found: dict[str, str] = {}
    for cell in compiled.cells:
        outputs = compiled.scores[cell.name].inputs["outputs"]
        found[outputs.fingerprint] = f"evaluate.{plain_name(cell.evaluation.name)}"
    for name, step in compiled.train.items():
        for one in (step, *step.inputs.values()):
            if one.kind == "train":
                found[one.fingerprint] = f"train.{plain_name(name)}"
    return found


def room_on(planned: Plan) -> tuple[Device | None, int | None]:
    """Return the device of the steps that are to run, and the bytes that one of them may take there."""
    hardware = [p.step.circumstance.get("hardware") for p in planned.steps if p.status is Status.TO_RUN]
    found = next((found for found in hardware if found), None)
    return (found["device"], room_of(found)) if found else (None, None)


def gib(size: int) -> str:
    """Write bytes as a person compares them."""
    return f"{size / GIB:.0f} GiB" if size >= 10 * GIB else f"{size / GIB:.1f} GiB"


def lines(found: Mapping[str, Need], device: str) -> list[str]:
    """Return what is to be said: that it is an estimate, what does not fit, and what is not known."""
    estimates = [need for need in found.values() if isinstance(need.found, Footprint)]
    told: dict[str, list[str]] = {}
    for need in found.values():
        if isinstance(need.found, str):
            told.setdefault(f": memory is not known, {need.found}", []).append(_name(need.step))
        elif need.unchecked is not None:
            told.setdefault(_checkpoints(need.unchecked, need.found), []).append(_name(need.step))
        elif need.fits is False:
            told.setdefault(f" {_too_large(need, need.found, device)}", []).append(_name(need.step))
    return [*_introduced(estimates, device), *(f"{several(names)}{what}" for what, names in told.items())]


def _introduced(estimates: Sequence[Need], device: str) -> list[str]:
    if not estimates:
        return []
    room = estimates[0].room
    there = f"; {_has(device, estimates[0].step)} {gib(room)}" if room else f"; how much {device} has is not known"
    assumed = list(
        dict.fromkeys(n.found.assumed for n in estimates if isinstance(n.found, Footprint) and n.found.assumed)
    )
    until = f"; {' and '.join(assumed)} are assumed until rows are prepared" if assumed else ""
    return [f"memory is an estimate, and stops nothing{there}{until}"]


def _has(device: str, step: Step) -> str:
    """Begin to say how much memory there is."""
    return "hardware.memory allows" if step.circumstance["hardware"].get("memory") else f"{device} has"


def _checkpoints(unchecked: int, found: Footprint) -> str:
    return (
        f": gradient checkpointing is switched on, which is slower; without it about {gib(unchecked)} would be needed, "
        f"with it {gib(found.total)}"
    )


def _too_large(need: Need, found: Footprint, device: str) -> str:
    """Say what a step needs, what of it most, and what to turn."""
    assert need.room is not None
    largest = [part for i, part in enumerate(list(found.parts.items())[:SHOWN]) if not i or part[1] >= SMALLEST]
    parts = ", ".join(f"{gib(size)} of it {name}" for name, size in largest)
    given = f", with {found.assumed}" if found.assumed else ""
    turned = need.remedy.settings.items() if need.remedy else ()
    values = " and ".join(f"{key} to {str(value).lower()}" for key, value in turned)
    declared = need.step.circumstance["hardware"].get("memory")
    smaller = "raise hardware.memory or use a smaller model" if declared else "use a smaller model"
    advice = f"set {values}" if values else f"no setting makes it fit, {smaller}"
    of = f"the {gib(need.room)} {'that hardware.memory allows' if declared else f'of {device}'}"
    return f"would need about {gib(found.total)} of {of}{given}: {parts}; {advice}"


def _name(step: Step) -> str:
    return f"{step.kind}/{step.slug}"


def several(names: Sequence[str]) -> str:
    """Name the first few different ones, and say how many more there are."""
    unique = list(dict.fromkeys(names))
    more = f" and {len(unique) - NAMED} more" if len(unique) > NAMED else ""
    return ", ".join(unique[:NAMED]) + more
