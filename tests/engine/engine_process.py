"""A process of its own that runs a graph: ``engine_process.py STORE GRAPH LOG PAUSE [SILENT]``; exits 1 unless all is
well.
"""

import sys
from pathlib import Path

from engine_steps import ask, chain, fail_late, run, step, write

from tunelab.engine.store import Store

GRAPHS = {
    "chain": lambda **circumstance: chain(8, **circumstance)[-1:],
    "wide": lambda **circumstance: [step(write, f"w{n}", circumstance=circumstance) for n in range(12)],
    "bad": lambda **circumstance: [step(fail_late, "bad", circumstance=circumstance)],
    "asking": lambda **circumstance: [step(ask, "asking", circumstance=circumstance)],
    "one": lambda **circumstance: [step(write, "one", circumstance=circumstance)],
}

if __name__ == "__main__":
    root, graph, log, pause, *silent = sys.argv[1:]
    outcome, _ = run(Store(Path(root)), *GRAPHS[graph](log=log, pause=float(pause), silent="".join(silent)))
    sys.exit(0 if outcome.ok else 1)
