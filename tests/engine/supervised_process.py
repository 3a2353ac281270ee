"""A supervised run in a process of its own: ``supervised_process.py STORE LOG DEATHS SIGNAL [GROUP]``; exits 1 when
one failed.

``dies`` has its process killed as often as DEATHS says, ``before`` comes ahead of it, ``beside`` does not need it. With
GROUP the steps are three that run at once, of which their process dies.
"""

import signal
import sys
from pathlib import Path

from engine_steps import die, group, run, step, write

from tunelab.engine.store import Store
from tunelab.engine.supervisor import supervised

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have begun the tests with it ignored
    root, log, deaths, killed_by, *at_once = sys.argv[1:]
    circumstance = {"log": log, "deaths": int(deaths), "killed_by": signal.Signals[killed_by]}
    before = step(write, "before", circumstance=circumstance)
    targets = [
        step(function, name, [before], circumstance=circumstance)
        for function, name in ((die, "dies"), (write, "beside"))
    ]

    if at_once:
        targets = group(log, "die")

    def work(since):
        """Run the steps in a process that may die."""
        return 0 if run(Store(Path(root)), *targets, since=since)[0].ok else 1

    sys.exit(supervised(work, Path(root)))
