"""Opening a study for work: read, shrink for smoke, compile, and lay it over a store."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tunelab.engine.plan import Plan, Status, plan, settled
from tunelab.engine.step import Step
from tunelab.engine.store import Store
from tunelab.errors import StudyError
from tunelab.study.adopt_plan import KIND as ADOPT
from tunelab.study.compile import Compiled, compile_study
from tunelab.study.read import read_file, read_study
from tunelab.study.smoke import smoke as shrink
from tunelab.study.spec import Study
from tunelab.study.tokenise_plan import tokenise_step
from tunelab.study.unified_plan import unified_step


@dataclass(frozen=True)
class Opened:
    """A compiled study and the store that it runs on."""

    compiled: Compiled
    store: Store
    asked: tuple[Step, ...] | None = None
    """The steps to do instead of the report, where it is not the whole study."""
    taken: frozenset[str] = frozenset()
    """Fingerprints of finished steps that are taken as they are, whatever they owe."""

    @property
    def name(self) -> str:
        """The study's name, and its folder's under results."""
        return self.compiled.study.study

    def targets(self) -> list[Step]:
        """The steps that are asked for; all others are needed by them."""
        return [self.compiled.report] if self.asked is None else list(self.asked)

    def plan(self) -> Plan:
        """Look the steps up in the store."""
        return plan(self.targets(), self.store)

    def refuse_blocked(self, spared: Collection[str] = ("judge",)) -> None:
        """Raise StudyError when something that the study needs is not there: better now than after hours.

        Steps of a kind that is ``spared`` stop nothing. A judge that is not there is named by ``silent_judges``.
        """
        reasons = dict.fromkeys(step.blocked for step in self._blocked() if step.blocked and step.kind not in spared)
        if reasons:
            raise StudyError("; ".join(reasons))

    def silent_judges(self) -> list[str]:
        """Return why each judge that cannot be asked gives no verdict, once a reason."""
        return list(dict.fromkeys(step.blocked for step in self._blocked() if step.blocked and step.kind == "judge"))

    @property
    def is_served(self) -> bool:
        """Whether any cell's model is behind a server."""
        return any(cell.variant.served for cell in self.compiled.cells)

    def asks_servers(self) -> bool:
        """Say whether a run would ask a served model."""
        to_run = [p.step.settings for p in self.plan().steps if p.status is Status.TO_RUN]
        return any(settings.get("backend") == "endpoint" for settings in to_run)

    def _blocked(self) -> list[Step]:
        return [p.step for p in self.plan().steps if p.status is Status.BLOCKED]


def open_study(
    name: str,
    overrides: Sequence[str],
    store: Path,
    smoke: bool = False,
    skipped: Sequence[str] = (),
    server: str | None = None,
) -> Opened:
    """Open a bundled study by name or a study file by path. Raises UserError or StoreError.

    ``server`` is where a smoke run asks for models that are behind a server.
    """
    points = read_study(name, overrides, skipped)
    return open_points(points, read_file(name).folder, store, smoke, server)


def open_points(
    points: Sequence[tuple[str, Study]], folder: Path, store: Path, smoke: bool = False, server: str | None = None
) -> Opened:
    """Open studies that are already objects: the labelled points of a sweep, or one under an empty label."""
    chosen = [(label, shrink(study, folder, server) if smoke else study) for label, study in points]
    return Opened(compile_study(chosen, folder), Store(store))


def only_trained(opened: Opened) -> Opened:
    """Keep the variants whose training is in the store or that are adopted, and the base: ``--only evaluate``."""
    store, compiled = opened.store, opened.compiled
    ready = {name for name, s in compiled.train.items() if s.kind == ADOPT or store.find(s) is not None}
    cells = [c for c in compiled.cells if c.variant.train is None or c.variant.name in ready]
    return Opened(compiled.restricted(cells), store)


def only_finished(opened: Opened) -> Opened:
    """Leave only comparison and report to do: steps that are not in the store become holes.

    Raises StudyError when nothing was trained or scored yet.
    """
    store, compiled = opened.store, opened.compiled
    made = {**compiled.compare.inputs, **compiled.report.inputs}
    made.pop("compare")
    held, reasons = settled(made.values(), store)
    if not any(step.fingerprint in held for step in (*compiled.train.values(), *compiled.scores.values())):
        raise StudyError(f"{opened.name}: has no results in {store.root} yet, expected a finished step; run it first")
    return Opened(compiled.without_work(held, reasons), store, taken=frozenset(held))


def tokenised_sets(opened: Opened) -> dict[str, Step]:
    """Return the step that writes each trained variant's rows as ids; those of adopted ones are unknown."""
    return {name: tokenise_step(step) for name, step in opened.compiled.train.items() if step.kind != ADOPT}


def unified_sets(opened: Opened) -> dict[str, Step]:
    """Return the step that writes the files of each variant that is trained on several tasks."""
    found = {name: unified_step(opened.compiled, name) for name in opened.compiled.train}
    return {name: step for name, step in found.items() if step is not None}


def only_data(opened: Opened) -> Opened:
    """Leave only rows to do: prepared, checked for leaks, tokenised and unified, for every variant that is trained.

    Raises StudyError for a study that trains nothing.
    """
    if not tokenised_sets(opened):
        raise StudyError(f"{opened.name}: trains no variant, expected at least one entry under train")
    return replace(opened, asked=(*tokenised_sets(opened).values(), *unified_sets(opened).values()))
