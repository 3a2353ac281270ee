"""Fill the small disk at the folder given, run, fill it to the last byte, run, free it, run; print what happened."""

import json
import sys
from pathlib import Path

from engine_steps import fill, run, step, write

from tunelab.engine.attempt import Attempt
from tunelab.engine.store import Store
from tunelab.files import append_lines, read_lines


def take(path, size):
    """Take up to ``size`` bytes of the disk."""
    with path.open("ab", buffering=0) as file:
        try:
            while size > 0:
                size -= file.write(b"x" * min(size, 1000))
        except OSError:
            pass


def told(store, steps):
    """Run, and say how each step ended and what is left."""
    outcome, events = run(store, steps[-1])
    return {
        "states": events.ended_states,
        "messages": list(outcome.messages.values()),
        "records": [s.slug for s in steps if store.find(s) is not None],
        "left": sorted(p.name for p in store.root.rglob("*") if p.name.endswith(".tmp") or p.name == "lease.json"),
    }


def torn(folder, ballast):
    """Let the disk run full in the middle of a line of ``attempts.jsonl``; return the events that are left."""
    folder.mkdir()
    path = folder / "attempts.jsonl"
    append_lines(path, [{"event": "ended", "seconds": 1, "cpu_seconds": 1, "padding": "x" * 4000}])
    take(ballast, 2_000_000)
    attempt = Attempt(folder)
    ballast.unlink()
    attempt.close()
    return [row["event"] for row in read_lines(path)]


if __name__ == "__main__":
    disk = Path(sys.argv[1])
    small = step(write, "small")
    big = step(fill, "big", [small])
    steps = [small, big, step(write, "last", after=(big,))]
    store = Store(disk / "store")
    take(disk / "ballast", 800_000)
    results = [told(store, steps)]
    take(disk / "ballast", 1_000_000)
    results.append(told(store, steps))
    take(disk / "ballast", 1_000_000)
    results.append(told(Store(disk / "store"), [step(write, "new")]))
    (disk / "ballast").unlink()
    results.append(told(store, steps))
    print(json.dumps({"runs": results, "attempts": torn(disk / "torn", disk / "ballast")}))
