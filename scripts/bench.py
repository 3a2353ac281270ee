"""All benchmarks of docs/performance.md in one run: B1 to B7, each in a process of its own, one after the other.

    python scripts/bench.py [--quick] [--rounds N] [--only B1,B4] [--out docs]

B1 supervised training · B2 a sweep of adapters · B3 a step of GRPO · B4 few-shot text · B5 multiple choice · B6 a whole
study · B7 the same after a change. Under OUT it writes performance.json, the picture images/performance.png, and the
tables of performance.md between that page's markers, where there is one. With ``--only`` the lines of the other
benchmarks stay, if they come from the same versions and machine. ``--quick`` runs the smallest case of each, two
programs at a time, and writes to build/bench unless told otherwise. The exit code is 1 where results differed or a
benchmark failed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench_table
import plot_performance
from benching import now, since

SCRIPTS = Path(__file__).parent
ROOT = SCRIPTS.parent
DOCUMENT, PAGE, PICTURE = "performance.json", "performance.md", Path("images", "performance.png")

TOGETHER = 2
"""Programs at a time where it is not speed that counts."""


@dataclass(frozen=True)
class Script:
    """A program that measures some benchmarks, the rounds that they get in a whole run, and how it is told which."""

    name: str
    benches: tuple[str, ...]
    rounds: int
    options: tuple[str, ...] = ()
    choosing: bool = False
    """Whether ``--only B4*`` chooses one of them."""

    def command(self, asked: argparse.Namespace, chosen: set[str], path: Path) -> list[str]:
        """Return the command line."""
        rounds = [] if asked.quick else ["--rounds", str(asked.rounds or self.rounds)]
        wanted = [bench for bench in self.benches if bench in chosen]
        only = ["--only", f"{wanted[0]}*"] if self.choosing and len(wanted) == 1 else []
        return [sys.executable, str(SCRIPTS / self.name), "--json", str(path), *rounds, *self.options, *only,
                *(["--quick"] if asked.quick else [])]  # fmt: skip


ALL = (
    Script("bench_training.py", ("B1",), 3),
    Script("bench_sweep.py", ("B2",), 2, ("--steps", "2")),
    Script("bench_grpo.py", ("B3",), 3),
    Script("bench_generation.py", ("B4", "B5"), 3, choosing=True),
    Script("bench_study.py", ("B6", "B7"), 1),
)
NAMES = [bench for script in ALL for bench in script.benches]


def run(script: Script, asked: argparse.Namespace, chosen: set[str]) -> tuple[dict[str, Any], bool]:
    """Run a script; return what it wrote, and whether all went well."""
    nothing: dict[str, Any] = {"lines": [], "missing": [], "gemm": []}
    name = " and ".join(script.benches)
    if not (SCRIPTS / script.name).exists():
        return {**nothing, "missing": [f"{name}: there is no scripts/{script.name}"]}, False
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "found.json")
        print(f"{name}: {script.name}", flush=True)
        began = now()
        done = subprocess.run(script.command(asked, chosen, path), stderr=subprocess.PIPE, text=True, check=False)
        print(f"  {name} took {since(began).wall:.0f} s", flush=True)
        found = json.loads(path.read_text()) if path.exists() else nothing
    if done.returncode and not found["missing"]:
        last = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
        found["missing"] = [f"{name}: {script.name} ended with exit code {done.returncode}: {last}"]
        print(done.stderr, file=sys.stderr)
    return found, done.returncode == 0


def merged(parts: list[dict[str, Any]], quick: bool) -> dict[str, Any]:
    """Put together what scripts wrote."""
    peaks = [peak for part in parts for peak in part["gemm"]]
    machines = [part["machine"] for part in parts if "machine" in part]
    return {
        "quick": quick,
        "date": datetime.date.today().isoformat(),
        "machine": machines[0] if machines else {"versions": {}, "cores": os.cpu_count(), "threads": 1},
        "gemm": statistics.median(peaks) if peaks else None,
        "lines": [line for part in parts for line in part["lines"]],
        "missing": [reason for part in parts for reason in part["missing"]],
    }


def kept(path: Path, found: dict[str, Any], chosen: set[str]) -> dict[str, Any]:
    """Add the lines that a file has of benchmarks that did not run, where they come from here."""
    old = json.loads(path.read_text()) if path.exists() else None
    if old is None or any(old[name] != found[name] for name in ("quick", "machine")):
        return found
    lines = [*found["lines"], *(line for line in old["lines"] if line["bench"] not in chosen)]
    return {**found, "lines": sorted(lines, key=lambda line: line["bench"])}


def write(out: Path, found: dict[str, Any]) -> None:
    """Write the document, the picture and, where there is a page, its tables."""
    out.mkdir(parents=True, exist_ok=True)
    (out / DOCUMENT).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    plot_performance.draw(found, out / PICTURE)
    page = out / PAGE
    if page.exists():
        page.write_text(bench_table.put(page.read_text(), bench_table.markdown(found)))


def main() -> int:
    """Run the benchmarks and write what they found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smallest case of each, two programs at a time")
    parser.add_argument("--rounds", type=int, help="of each benchmark, instead of its own number")
    parser.add_argument("--only", default=",".join(NAMES), help="benchmarks, with commas between them")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    chosen = set(asked.only.split(","))
    if unknown := chosen - set(NAMES):
        parser.error(f"--only: got {', '.join(sorted(unknown))}, expected some of {', '.join(NAMES)}")
    out = asked.out or (ROOT / "build" / "bench" if asked.quick else ROOT / "docs")
    scripts = [script for script in ALL if chosen & set(script.benches)]
    with ThreadPoolExecutor(TOGETHER if asked.quick else 1) as pool:
        order = -1 if asked.quick else 1  # the longest first, beside all others
        ran = list(pool.map(lambda script: run(script, asked, chosen), scripts[::order]))[::order]
    found = kept(out / DOCUMENT, merged([part for part, _ in ran], asked.quick), chosen)
    write(out, found)
    print(bench_table.markdown(found))
    return 0 if all(well for _, well in ran) else 1


if __name__ == "__main__":
    sys.exit(main())
