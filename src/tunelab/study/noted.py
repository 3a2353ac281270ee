"""Running an opened study so that ``tunelab view`` can follow it."""

from __future__ import annotations

import sys
from pathlib import Path

from tunelab.engine.journal import Subject, journal
from tunelab.engine.runner import Outcome, Reporter, Runner
from tunelab.study.open import Opened


def run_noted(opened: Opened, reporter: Reporter, results: Path, since: float | None = None) -> Outcome:
    """Do what is not done yet, with a journal on the store; what could not be noted there is told once, at the end.

    ``since`` is as in ``Runner.run``.
    """
    subject = Subject(opened.name, opened.compiled.study.question, results / opened.name)
    with journal(opened.store.root, subject, opened.targets(), reporter) as kept:
        outcome = Runner(opened.store, kept).run(opened.targets(), since=since)
    if kept.trouble:
        print(f"tunelab: tunelab view cannot follow all of this run: {kept.trouble}", file=sys.stderr)
    return outcome
