"""The first screen's strip: every difference that answers the question, as a mark in its interval around zero.

The effects that the answer speaks of come first, then recipes over seeds, declared contrasts, and what is compared with
a baseline, the largest difference first. The single seeds of a recipe are always folded: the answer is not about
them. All lines share a scale where none reaches beyond 1, else those of one metric do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunelab.report.crossed import crossed_effects, is_matched_effect
from tunelab.report.disagreements import Link, disagreements
from tunelab.report.evidence import Evidence
from tunelab.report.over_seeds import decided
from tunelab.report.wording import MARKS, could_see, number, signed, signed_range

LISTED = 8
"""Lines on the first screen; the others are folded."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """One difference. ``low``, ``at`` and ``high`` are places on the strip, from 0 to 1; zero is at 0.5."""

    name: str
    against: str
    metric: str
    low: float
    at: float
    high: float
    amount: str
    verdict: str
    mark: str
    note: str
    links: Sequence[Link] = field(default_factory=list[Link])


@dataclass(frozen=True)
class Glance:
    """The strip: lines to show, lines to fold, and how far the scale reaches where all share one."""

    lines: Sequence[Line]
    folded: Sequence[Line]
    reach: str


def glance(evidence: Evidence) -> Glance:
    """Return the strip of all differences; without one there is no line."""
    found = evidence.comparison
    effects = crossed_effects(found["effects"]) or [e for e in found["effects"] if is_matched_effect(e)]
    recipes = _largest_first(decided(found["recipes"]))
    contrasts, comparisons = _largest_first(found["contrasts"]), _largest_first(found["comparisons"])
    reaches = _reaches([*effects, *recipes, *contrasts, *comparisons])
    seeds = {name for row in recipes for name in row["cells"]}
    single, alone = ([row for row in comparisons if (row["cell"] in seeds) is one] for one in (True, False))
    lines = [
        *(_line(row, reaches, row["effect"], "all else equal", []) for row in effects),
        *(_line(row, reaches, _over_seeds(row), row["baseline"], []) for row in recipes),
        *(_line(row, reaches, row["cell"], row["baseline"], disagreements(row, "the other")) for row in contrasts),
        *(_cell(row, reaches) for row in alone),
    ]
    folded = [*lines[LISTED:], *(_cell(row, reaches) for row in single)]
    common = set(reaches.values())
    reach = f"-{number(*common)} to +{number(*common)}" if len(common) == 1 else ""
    return Glance(lines[:LISTED], folded, reach)


def _over_seeds(recipe: Row) -> str:
    return f"{recipe['cell']} over {len(recipe['seeds'])} seeds"


def _cell(row: Row, reaches: Mapping[str, float]) -> Line:
    return _line(row, reaches, row["cell"], row["baseline"], disagreements(row))


def _largest_first(compared: Sequence[Row]) -> list[Row]:
    return sorted((row for row in compared if "refused" not in row), key=lambda row: -abs(row["difference"]))


def _size(row: Row) -> float:
    return row["difference"] if "difference" in row else row["value"]  # a recipe's value is its mean


def _reaches(rows: Sequence[Row]) -> dict[str, float]:
    """Return how far from zero the differences of each metric reach, with their intervals."""
    reaches: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        ends = [abs(end) for end in (_size(row), row["low"], row["high"]) if end is not None]
        reaches[row["metric"]] = max(reaches[row["metric"]], *ends)
    widest = max(reaches.values(), default=0.0)
    return dict(reaches) if widest > 1 else dict.fromkeys(reaches, widest)


def _line(row: Row, reaches: Mapping[str, float], name: str, against: str, links: Sequence[Link]) -> Line:
    reach = reaches[row["metric"]] or 1.0
    size = _size(row)
    ends = [size if end is None else end for end in (row["low"], size, row["high"])]
    low, at, high = (0.5 + end / (2 * reach) for end in ends)
    smallest = could_see(row) if row["verdict"] == "undecided" else ""
    amount = f"{signed(size)} {signed_range(row)}"
    mark = MARKS[row["verdict"]]
    return Line(name, against, row["metric"], low, at, high, amount, row["verdict"], mark, smallest, links)
