"""Running a study from Python: the same plan, store and results as the command line's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunelab.engine.runner import Reporter, State, artifact_of
from tunelab.engine.step import Step
from tunelab.errors import StepError, TrackerError
from tunelab.files import read_json
from tunelab.study.layout import link_results
from tunelab.study.noted import run_noted
from tunelab.study.open import open_points
from tunelab.study.spec import Study
from tunelab.study.steps.files import COMPARISON
from tunelab.study.track import track_results


class SilentReporter:
    """Says nothing."""

    def started(self, step: Step) -> None:
        """Say nothing."""

    def progressed(self, step: Step, done: int, total: int, unit: str) -> None:
        """Say nothing."""

    def ended(self, step: Step, state: State, message: str) -> None:
        """Say nothing."""


def run(
    study: Study,
    *,
    store: Path = Path(".tunelab"),
    results: Path = Path("results"),
    smoke: bool = False,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Run what is not done yet and return the comparison, as ``comparison.json`` holds it.

    Failed cells are among its ``holes``. Raises UserError for a study that cannot run, StepError when nothing was
    left to compare, and TrackerError, with all results in place, when a tracker did not take them.
    """
    opened = open_points([("", study)], Path.cwd(), store, smoke)
    opened.refuse_blocked()
    outcome = run_noted(opened, reporter or SilentReporter(), results)
    folder = link_results(opened, outcome, results)
    if failed := track_results(opened.compiled.study, folder):
        raise TrackerError("; ".join(failed))
    compared = artifact_of(opened.store, outcome, opened.compiled.compare)
    if compared is None:
        raise StepError("; ".join(dict.fromkeys(outcome.messages.values())))
    return read_json(compared.path(COMPARISON))
