"""How many programs a second are judged? Trivial ones, and the bundled rows of HumanEval and MBPP or the real ones.

    python scripts/bench_code.py [--programs 200]

Every program gets a sandbox of its own. With TUNELAB_DATA, the reference solutions of all real test rows are judged
too. The exit code is 0 when at least 20 trivial programs a second were judged. Half a minute.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable

from tunelab.data.sources import MIRROR_VARIABLE, BuiltinSource, mirror_source
from tunelab.scoring.code.pool import Program, shared
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import load_samples

TRIVIAL = Program("def f(x):\n    return x + 1", ["f"], ["assert f(1) == 2"])
ENOUGH = 20.0


def rate(name: str, runs: list[Callable[[], bool]]) -> float:
    """Run, print how many passed and how fast, and return programs per second."""
    begun = time.perf_counter()
    passed = sum(run() for run in runs)
    seconds = time.perf_counter() - begun
    print(f"{name:20} {passed:4} of {len(runs):4} pass in {seconds:6.2f} s, {len(runs) / seconds:6.1f} a second")
    return len(runs) / seconds


def references(name: str) -> list[Callable[[], bool]]:
    """Return a run for the reference solution of each test row."""
    task = find_task(name)
    assert task.dataset is not None
    source = mirror_source(task.dataset) if os.environ.get(MIRROR_VARIABLE) else BuiltinSource(name)
    samples = load_samples(task, task.test_split, source)
    return [lambda s=sample: task.score(s, task.target(s)).values.get("pass_at_1") == 1 for sample in samples]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=200)
    programs = parser.parse_args().programs
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    pool = shared("bubblewrap")
    pool.verdict(TRIVIAL)
    found = rate("trivial", [lambda: pool.verdict(TRIVIAL).passed] * programs)
    for name in ("humaneval", "mbpp"):
        rate(name, references(name))
    sys.exit(0 if found >= ENOUGH else 1)


if __name__ == "__main__":
    main()
