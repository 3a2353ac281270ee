"""Training curves as they come: what a trainer has logged so far, as the points of small pictures.

A file of metrics is read on from where it was read last, so that following a long training costs no more than a short
one. One that was replaced (a training that resumes forgets what came after its checkpoint) is read anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

METRICS = "metrics.jsonl"
SERIES = {"loss": "loss", "reward": "reward", "rewards/accuracies": "preference accuracy"}
"""What is drawn of the many values that a trainer logs, with its name on the page."""
WIDTH, HEIGHT, MARGIN = 320.0, 88.0, 5.0
MOST = 400

Points = list[tuple[float, float]]


@dataclass
class _File:
    inode: int = 0
    read: int = 0
    series: dict[str, Points] = field(default_factory=dict[str, Points])


class Curves:
    """Reads metrics files, each part of them once."""

    def __init__(self) -> None:
        self._known: dict[Path, _File] = {}

    def of(self, path: Path) -> Mapping[str, Points]:
        """Return (step, value) by series, empty where nothing was logged yet."""
        try:
            stat = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return {}
        known = self._known.get(path)
        if known is None or known.inode != stat.st_ino or stat.st_size < known.read:
            known = self._known[path] = _File(stat.st_ino)
        if stat.st_size > known.read:
            _read_on(path, known)
        return known.series


def _read_on(path: Path, known: _File) -> None:
    with path.open("rb") as file:
        file.seek(known.read)
        content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    known.read += len(whole)
    for line in whole.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # a line that a kill has torn; the training that resumes drops it
        for name in SERIES:
            if isinstance(row, dict) and isinstance(value := row.get(name), int | float):
                known.series.setdefault(name, []).append((float(row["step"]), float(value)))


@dataclass(frozen=True)
class Drawn:
    """A curve in a box of WIDTH × HEIGHT: its corners, its last point and the texts around it."""

    points: str
    x: str
    y: str
    last: str
    low: str
    high: str
    steps: str


def draw(points: Points) -> Drawn:
    """Draw at least one point; more than MOST are thinned to the mean of equal runs of them."""
    kept = _thinned(points)
    low, high = min(y for _, y in kept), max(y for _, y in kept)
    first, last = kept[0][0], kept[-1][0]
    placed = [(_place(x, first, last, WIDTH), HEIGHT - _place(y, low, high, HEIGHT)) for x, y in kept]
    x, y = placed[-1]
    text = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    return Drawn(
        text, f"{x:.1f}", f"{y:.1f}", number(points[-1][1]), number(low), number(high), f"step {points[-1][0]:.0f}"
    )


def number(value: float) -> str:
    """Write a value with three significant digits."""
    return f"{value:.3g}"


def _place(value: float, low: float, high: float, size: float) -> float:
    share = (value - low) / (high - low) if high > low else 0.5
    return MARGIN + share * (size - 2 * MARGIN)


def _thinned(points: Sequence[tuple[float, float]]) -> Points:
    if len(points) <= MOST:
        return list(points)
    size = -(-len(points) // MOST)
    runs = [points[i : i + size] for i in range(0, len(points), size)]
    return [(run[-1][0], sum(y for _, y in run) / len(run)) for run in runs]
