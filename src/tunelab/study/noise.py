"""The noise floor: one variant evaluated twice, in two ways that differ in nothing but the seed of the draws.

Two evaluations of a study with a temperature, equal in all but ``seed``, make such a pair of each variant that both
score. Greedy decoding draws nothing: its two cells are one step, and the flip rate is 0 by construction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations
from typing import Any

from tunelab.canonical import canonical
from tunelab.stats import flip_rate
from tunelab.study.scored import Cell, Scored, align, headline_difference, incomparable, size_of

Row = dict[str, Any]
GREEDY = "greedy decoding draws nothing, so the two are one and the rate is 0 by construction"


def noise_floor(scored: Mapping[str, Scored]) -> list[Row]:
    """Return a row for each pair of cells that are one variant's, evaluated twice: flip rate, interval, change.

    The change of the mean is the second minus the first.
    """
    groups: defaultdict[str, list[Scored]] = defaultdict(list)
    for cell in scored.values():
        if cell.cell.get("by") == "generate" and not cell.error:
            groups[_alike(cell.cell)].append(cell)
    return [_row(one, other) for cells in groups.values() for one, other in combinations(cells, 2)]


def _alike(cell: Cell) -> str:
    """Return what two evaluations of one variant must share to be one evaluation, drawn twice."""
    asked = {name: value for name, value in _asked(cell).items() if name != "seed"}
    return canonical([cell["variant"], cell["task"], cell["factors"]["eval_format"], asked])


def _asked(cell: Cell) -> Mapping[str, Any]:
    return cell["others"]["evaluation"]


def _row(one: Scored, other: Scored) -> Row:
    row: Row = {
        "variant": one.cell["variant"],
        "task": one.cell["task"],
        "metric": one.headline,
        "evaluations": [one.cell["evaluation"], other.cell["evaluation"]],
        "seeds": [_asked(s.cell)["seed"] for s in (one, other)],
    }
    if _asked(one.cell)["temperature"] == 0:
        return {**row, "note": GREEDY}
    aligned = align([other, one])
    if reason := incomparable(one, other) or ("" if aligned.items else "no item was scored in both"):
        return {**row, "refused": reason}
    found = flip_rate(*aligned.values)
    change = size_of(headline_difference(aligned))
    return {**row, "flip_rate": found.value, "low": found.low, "high": found.high, "n": found.n, "change": change}
