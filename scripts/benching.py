"""What all benchmarks share: clocks, turns, gates, the peak of a matrix product, and one schema for what they find.

A benchmark measures a case in rounds: tunelab, its peers, tunelab again; the peers' order turns from round to round.
So drift falls on both sides alike, and tunelab against itself (A/A) comes with every case. A line of the results is one
case against one peer. It has a ratio only where its gate passed and A/A is within a tenth; else it says why it is void.

Importing this imports no torch, and sets one thread; the settings of the allocator are ``prepare``'s.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeVar

os.environ.setdefault("OMP_NUM_THREADS", "1")

LARGEST_SPREAD = 0.10
"""By how much our own times before and after the peers may differ."""
FEW, LONG, LESS = 2, 5.0, 2
"""Rounds of cases that are no headline; CPU-seconds of a peer from which on a headline has ``LESS`` rounds."""
LOSS, SLOPE, WEIGHT, CLOSE = 1e-5, 1e-5, 1e-4, 1e-4
"""What is equal: losses, gradients (relative), weights after some steps, log-probabilities."""
PACKAGES = ("torch", "transformers", "trl", "peft", "lm_eval")
Tier = Literal["P0", "P1", "P2"]
"""A peer as its defaults are, at its best (the headline), or a bare loop over transformers."""
Made = TypeVar("Made")


@dataclass(frozen=True)
class Took:
    """Seconds of a run: of the process (of all its processes, where it starts some) and by the clock."""

    cpu: float
    wall: float


Run = Callable[[], Took]


Clock = tuple[float, float]


def now() -> Clock:
    """Return the process's CPU time and the clock."""
    return time.process_time(), time.perf_counter()


def since(began: Clock, parts: int = 1) -> Took:
    """Return what passed since, divided by ``parts``."""
    return Took(*((end - start) / parts for start, end in zip(began, now(), strict=True)))


def timed(run: Callable[[], Made]) -> tuple[Made, Took]:
    """Run; return what was made and what it took in this process."""
    began = now()
    made = run()
    return made, since(began)


def timed_processes(run: Callable[[], Any]) -> Took:
    """Run; return what all processes took that it started and waited for."""
    used, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run()
    wall, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Took(now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime, wall)


@dataclass(frozen=True)
class Turns:
    """What each took in rounds: tunelab before and after its peers, and each peer."""

    ours: list[tuple[Took, Took]]
    peers: dict[str, list[Took]]


def take_turns(ours: Run, peers: Mapping[str, Run], rounds: int) -> Turns:
    """Let tunelab and its peers take turns."""
    found = Turns([], {name: [] for name in peers})
    for turn in range(rounds):
        before = ours()
        for name in list(peers)[:: 1 if turn % 2 == 0 else -1]:
            found.peers[name].append(peers[name]())
        found.ours.append((before, ours()))
    return found


def affordable(rounds: int, peer: Took) -> int:
    """Return how many rounds there are, fewer where one takes long."""
    return rounds if peer.cpu < LONG else min(rounds, LESS)


def fastest(name: str, sizes: Sequence[int], run: Callable[[int], Took]) -> tuple[int, dict[int, Took]]:
    """Return the size that costs a peer the least CPU time, and what each took."""
    took = {size: run(size) for size in sizes}
    shown = ", ".join(f"{size}: {found.cpu:.2f}" for size, found in took.items())
    print(f"  {name}: CPU-seconds by batch: {shown}", flush=True)
    return min(took, key=lambda size: took[size].cpu), took


@dataclass(frozen=True)
class Gate:
    """What was compared before any ratio: the largest differences, what they may be, and what else is to be said."""

    compared: str
    largest: Mapping[str, float]
    allowed: Mapping[str, float]
    notes: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        return all(self.largest[name] <= limit for name, limit in self.allowed.items())

    def told(self) -> str:
        """Say what was found: counts as they are, differences in powers of ten."""
        return ", ".join(f"{name} {value:.1e}" if value % 1 else f"{name} {value:.0f}"
                         for name, value in self.largest.items())  # fmt: skip


def spread(values: Sequence[float]) -> list[float]:
    """Return median, lowest and highest."""
    return [statistics.median(values), min(values), max(values)]


@dataclass(frozen=True)
class Times:
    """Median, lowest and highest seconds, of processes and by the clock."""

    cpu: list[float]
    wall: list[float]

    @classmethod
    def of(cls, took: Sequence[Took]) -> Times:
        return cls(spread([t.cpu for t in took]), spread([t.wall for t in took]))


@dataclass(frozen=True)
class Case:
    """What was measured: the benchmark's name and case, what a time is of, its gate, and the FLOP it cannot do without.

    ``flop`` is None where it is not known.
    """

    bench: str
    name: str
    unit: str
    gate: Gate
    flop: float | None = None


@dataclass(frozen=True)
class Peer:
    """Whom tunelab is compared with, in which batches, and the ratio that is aimed at."""

    name: str
    tier: Tier
    batch: str = ""
    target: float | None = None


@dataclass(frozen=True)
class Line:
    """One case against one peer. ``ratio`` has median, lowest and highest of the rounds; None where it is void."""

    bench: str
    case: str
    peer: str
    tier: Tier
    batch: str
    unit: str
    rounds: int
    ours: Times
    theirs: Times
    ratio: list[float] | None
    target: float | None
    itself: float | None
    void: str
    peak: float | None
    gate: dict[str, Any]
    load: list[float]


def against_itself(ours: Sequence[tuple[Took, Took]]) -> float | None:
    """Return the ratio of our medians before and after the peers; None where there is nothing to compare."""
    if not ours or any(one is other for one, other in ours):
        return None
    before, after = ([pair[i].cpu for pair in ours] for i in (0, 1))
    return statistics.median(before) / statistics.median(after)


def why_void(gate: Gate, itself: float | None) -> str:
    """Return why there is no ratio; an empty text where there is one."""
    if not gate.passed:
        return "results differ"
    if itself is None:
        return "A/A was not measured"
    return f"A/A {itself:.2f}" if abs(itself - 1) > LARGEST_SPREAD else ""


def ratios(ours: Sequence[tuple[Took, Took]], theirs: Sequence[Took]) -> list[float]:
    """Return the ratio of medians with the lowest and highest of rounds, each against our two times around it."""
    each = [t.cpu / ((a.cpu + b.cpu) / 2) for (a, b), t in zip(ours, theirs, strict=False)]
    middle = statistics.median(t.cpu for t in theirs) / statistics.median(t.cpu for pair in ours for t in pair)
    return [middle, min(*each, middle), max(*each, middle)]


@dataclass
class Results:
    """The lines of a benchmark's process, and what it ran on."""

    quick: bool = False
    lines: list[Line] = field(default_factory=list[Line])
    missing: list[str] = field(default_factory=list[str])
    """What could not be measured, and why."""
    load: list[float] = field(default_factory=lambda: [os.getloadavg()[0]])
    gemm: list[float] = field(default_factory=list[float])
    """FLOP per CPU-second of a large matrix product."""

    def measure_peak(self) -> None:
        """Measure a matrix product; once beside every case, as it depends on the load."""
        self.gemm.append(gemm_peak())

    def add(self, case: Case, peer: Peer, ours: Sequence[tuple[Took, Took]], theirs: Sequence[Took]) -> Line:
        """Add and print a line."""
        self.load.append(os.getloadavg()[0])
        itself = against_itself(ours)
        void = why_void(case.gate, itself)
        mine = Times.of([took for pair in ours for took in pair])
        peak = case.flop / mine.cpu[0] / statistics.median(self.gemm) if case.flop and self.gemm else None
        gate = {**asdict(case.gate), "passed": case.gate.passed}
        line = Line(
            bench=case.bench,
            case=case.name,
            peer=peer.name,
            tier=peer.tier,
            batch=peer.batch,
            unit=case.unit,
            rounds=len(theirs),
            ours=mine,
            theirs=Times.of(theirs),
            ratio=None if void else ratios(ours, theirs),
            target=None if self.quick else peer.target,
            itself=itself,
            void=void,
            peak=peak,
            gate=gate,
            load=[min(self.load[-2:]), max(self.load[-2:])],
        )
        self.lines.append(line)
        said = f"{line.ratio[0]:.2f} times" if line.ratio else f"void ({void})"
        print(f"  {line.bench} {line.case} against {line.peer} ({line.tier}): {mine.cpu[0]:.2f} and "
              f"{line.theirs.cpu[0]:.2f} CPU-seconds {line.unit}, {said}; A/A "
              f"{'-' if itself is None else f'{itself:.2f}'}", flush=True)  # fmt: skip
        return line

    def refuse(self, case: Case) -> None:
        """Say that results differ: nothing was timed."""
        self.missing.append(f"{case.bench} {case.name}: results differ ({case.gate.told()})")
        print(f"  {self.missing[-1]}: NO RATIO", *case.gate.notes, sep="\n  ", flush=True)

    def finish(self, path: Path | None) -> int:
        """Write the results where asked; return the exit code, 1 where results differed."""
        if path:
            path.write_text(json.dumps(asdict(self) | {"machine": machine()}, indent=1) + "\n")
        return 1 if any("differ" in reason for reason in [*self.missing, *(line.void for line in self.lines)]) else 0


def machine() -> dict[str, Any]:
    """Say what ran, and on what."""
    versions = {name: metadata.version(name) for name in PACKAGES if find_spec(name)}
    return {"versions": {"python": platform.python_version(), **versions}, "cores": os.cpu_count(),
            "threads": int(os.environ["OMP_NUM_THREADS"])}  # fmt: skip


def prepare() -> None:
    """Give everything in this process one thread, a quiet library and an allocator that keeps freed memory."""
    import torch

    from tunelab.models.load import quiet
    from tunelab.models.memory import keep_freed_memory

    quiet()
    torch.set_num_threads(1)
    keep_freed_memory()


def gemm_peak(size: int = 1536) -> float:
    """Return fp32 FLOP per CPU-second of a large matrix product, by the faster library."""
    import torch

    from tunelab.models.products import product

    one, other = torch.randn(size, size), torch.randn(size, size)
    return max(2 * size**3 / timed(lambda: product(one, other))[1].cpu for _ in range(4))


def parser(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """Return a command line with what all benchmarks know."""
    found = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    found.add_argument("--rounds", type=int, default=rounds)
    found.add_argument("--quick", action="store_true", help="the smallest case, one round")
    found.add_argument("--json", type=Path, help="also write the figures here")
    return found
