"""A step: one node of the plan, and the line that divides its identity from its circumstances.

Identity is what can change the result: the kind, the kind's version, ``settings`` and the inputs' identities.
It becomes the fingerprint. Circumstance is everything else that running needs (device, batch size, trackers):
it is recorded and never compared. A step names the function that runs it as ``module:function``, so that
planning imports nothing heavy.

``after`` orders steps without entering identity: a leak check must pass before training starts, yet whether it
ran does not change the weights. A ``tolerant`` step (compare, report) runs even when some inputs failed; each
missing input is a hole. Any step may do without its ``optional`` inputs in the same way. Holes are part of its
identity, and so is the reason of each, since a report prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tunelab.canonical import fingerprint
from tunelab.engine.imports import imported

if TYPE_CHECKING:
    from tunelab.engine.context import StepContext

MISSING = "missing: "
"""Begins what stands for a hole among the identities of inputs, where its reason is known."""


def holes_of(inputs: Mapping[str, str | None]) -> dict[str, str]:
    """Return the holes among the identities of a step's inputs, as its record has them, with their reasons."""
    return {
        name: (why or "").removeprefix(MISSING) for name, why in inputs.items() if not why or why.startswith(MISSING)
    }


@dataclass(frozen=True)
class Together:
    """Steps of a run with equal ``key`` may run at once. ``entry`` names the function that does it.

    It is given their contexts and returns what runs all of them, or why each is to run by itself.
    """

    key: str
    entry: str

    def function(self) -> Callable[[Sequence[StepContext]], Callable[[], None] | str]:
        """Import and return the function."""
        return imported(self.entry)


@dataclass(frozen=True, eq=False)
class Step:
    """One node of the plan. Equality is by ``fingerprint``, never by object."""

    kind: str
    version: int
    slug: str
    entry: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, Step] = field(default_factory=dict[str, "Step"])
    circumstance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    after: tuple[Step, ...] = ()
    holes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Inputs without a result, with the reason; it is empty where nothing has tried yet."""
    tolerant: bool = False
    optional: frozenset[str] = frozenset()
    """Names of inputs that this step does without: one that has no result is a hole."""
    blocked: str | None = None
    together: Together | None = None
    """How this step runs at once with others of its kind, which changes nothing of its result; None where it cannot."""
    planned: str | None = None
    """The fingerprint that the plan knew this step by, where holes have given it another since; see ``origin``."""

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits; equal fingerprints mean equal results."""
        return fingerprint(self.kind, self.version, self.settings, self._input_identities())

    @property
    def name(self) -> str:
        """``kind/slug-<8 hex>``: the folder in the store and the name in messages."""
        return f"{self.kind}/{self.slug}-{self.fingerprint[:8]}"

    @property
    def origin(self) -> str:
        """The fingerprint of this step before any of its inputs became a hole."""
        return self.planned or self.fingerprint

    @property
    def identity(self) -> dict[str, Any]:
        """What ``tunelab explain`` compares, as plain JSON."""
        return {
            "kind": self.kind,
            "version": self.version,
            "settings": dict(self.settings),
            "inputs": self._input_identities(),
        }

    def _input_identities(self) -> dict[str, str | None]:
        made: dict[str, str | None] = {name: step.fingerprint for name, step in self.inputs.items()}
        return made | {name: f"{MISSING}{why}" if why else None for name, why in self.holes.items()}

    @property
    def needs(self) -> tuple[Step, ...]:
        """The steps that must end before this one may start."""
        return (*self.inputs.values(), *self.after)

    def lacking(self, finished: Collection[str]) -> Step | None:
        """Return the first need that keeps this step from running when only ``finished`` fingerprints have a result.

        A tolerant step lacks nothing as long as one of its inputs is there.
        """
        optional = {step.fingerprint for name, step in self.inputs.items() if name in self.optional}
        unmet = [need for need in self.needs if need.fingerprint not in {*finished, *optional}]
        if self.tolerant and any(step.fingerprint in finished for step in self.inputs.values()):
            return None
        return unmet[0] if unmet else None

    def over(self, became: Mapping[str, Step], reasons: Mapping[str, str]) -> Step:
        """Return this step over what its inputs became, by fingerprint; the others become holes.

        ``reasons`` says by fingerprint why an input has no result.
        """
        inputs = self.inputs.items()
        available = {name: became[s.fingerprint] for name, s in inputs if s.fingerprint in became}
        if available == dict(self.inputs):
            return self
        lost = {name: reasons.get(s.fingerprint, "") for name, s in inputs if s.fingerprint not in became}
        return replace(self, inputs=available, holes={**self.holes, **lost}, planned=self.origin)

    def function(self) -> Callable[[StepContext], None]:
        """Import and return the function that runs this step."""
        return imported(self.entry)
