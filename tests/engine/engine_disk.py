"""Fill the small disk at the folder given, run, fill it to the last byte, run, free it, run; print what happened."""

import json
import sys
from pathlib import Path

from engine_steps import fill, run, step, write

from tunelab.engine.store import Store


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
    print(json.dumps(results))
