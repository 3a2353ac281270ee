"""``tunelab report``."""

from __future__ import annotations

import sys

from tunelab.cli.options import RESULTS, STORE, Overrides, ResultsDir, Skip, Smoke, StoreDir, StudyName
from tunelab.cli.progress import QuietReporter
from tunelab.cli.say import say
from tunelab.engine.runner import Runner
from tunelab.study.layout import link_results
from tunelab.study.open import only_finished, open_study


def command(
    study: StudyName,
    overrides: Overrides = None,
    smoke: Smoke = False,
    skip: Skip = None,
    store: StoreDir = STORE,
    results: ResultsDir = RESULTS,
) -> None:
    """Nothing is trained or generated: cells without a result are shown as holes."""
    opened = only_finished(open_study(study, overrides or [], store, smoke, skip or []))
    outcome = Runner(opened.store, QuietReporter()).run(opened.targets(), opened.taken)
    folder = link_results(opened, outcome, results)
    say(f"Report: {folder / 'report' / 'index.html'}")
    if not outcome.ok:
        sys.exit(1)
