"""``tunelab doctor``."""

from __future__ import annotations

import sys

from tunelab.cli.options import STORE, StoreDir
from tunelab.cli.say import say
from tunelab.study.doctor import diagnose

MARKS = {True: "ok  ", False: "FAIL", None: "note"}


def command(store: StoreDir = STORE) -> None:
    """Checks libraries, device, hub, data mirror, bundled model and every file of the store."""
    findings = list(diagnose(store))
    for finding in findings:
        say(f"{MARKS[finding.ok]} {finding.what}: {finding.found}")
    if any(finding.ok is False for finding in findings):
        sys.exit(1)
