"""Factor effects of a crossed design, as weights for ``paired.contrast``.

A cell is a mapping from factor to level, ``{"train": "chat", "eval": "raw", "method": "sft"}``, and row i of the
scores belongs to cell i. An effect is a weighted sum of cells; being paired over items, it is far sharper than
the bars of a chart suggest.

Only complete designs are accepted: each combination of levels exactly once. In an incomplete one an "average
over the other factors" compares different mixtures of cells and credits a factor with their difference. It is
refused with the missing combination; the caller keeps the cells whose levels are fully crossed and says so.
A level that is no level of the others (the untrained model) is compared by ``paired_difference`` instead.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from tunelab.stats.arrays import FloatArray

Cells = Sequence[Mapping[str, str]]


def main_effects(cells: Cells, factor: str, reference: str | None = None) -> dict[str, FloatArray]:
    """Weights, shape (cells,), of each level's effect, keyed ``"chat - raw"``; averaged over all other factors.

    With ``reference``, each other level minus it. Without: a factor of two levels gives its second minus its
    first, in order of appearance; one of more gives each level minus the plain mean of the others.
    Raises ValueError for an incomplete design, an unknown factor or reference, or fewer than two levels.
    """
    found = _levels(cells, factor)
    if reference is None and len(found) == 2:
        reference = found[0]
    if reference is None:
        return {f"{level} - others": _level_weights(cells, factor, level) for level in found}
    if reference not in found:
        raise ValueError(f"reference of {factor}: got {reference!r}, expected one of {', '.join(found)}")
    others = [level for level in found if level != reference]
    return {
        f"{level} - {reference}": _difference(
            [c[factor] == level for c in cells], [c[factor] == reference for c in cells]
        )
        for level in others
    }


def interaction(cells: Cells, first: str, second: str) -> FloatArray:
    """Weights, shape (cells,), of matched minus mismatched: mean of the cells where the levels agree less the rest.

    Factors with the same level names (train format, eval format) match by name, with any number of levels;
    this is the "does the template matter?" contrast, and main effects cancel in it. Factors with different
    names need two levels each, and match by order of appearance: half of the difference of differences.
    Raises ValueError for an incomplete design, an unknown factor, or levels that cannot be matched.
    """
    if first == second:
        raise ValueError(f"interaction: got {first!r} twice, expected two different factors")
    rows, columns = _levels(cells, first), _levels(cells, second)
    if set(rows) == set(columns):
        pairs = {(level, level) for level in rows}
    elif len(rows) == len(columns) == 2:
        pairs = set(zip(rows, columns, strict=True))
    else:
        raise ValueError(
            f"interaction of {first} and {second}: got levels {', '.join(rows)} and {', '.join(columns)}, "
            "expected the same names, or two levels each; keep the cells of two levels"
        )
    matched = [(c[first], c[second]) in pairs for c in cells]
    return _difference(matched, [not m for m in matched])


def _level_weights(cells: Cells, factor: str, level: str) -> FloatArray:
    at_level = [c[factor] == level for c in cells]
    return _difference(at_level, [not m for m in at_level])


def _difference(plus: list[bool], minus: list[bool]) -> FloatArray:
    return np.asarray(plus, dtype=np.float64) / sum(plus) - np.asarray(minus, dtype=np.float64) / sum(minus)


def _levels(cells: Cells, factor: str) -> list[str]:
    """Levels of ``factor`` in order of appearance, once the design is known to be complete."""
    factors = _complete(cells)
    if factor not in factors:
        raise ValueError(f"factor: got {factor!r}, expected one of {', '.join(factors)}")
    if len(factors[factor]) < 2:
        raise ValueError(f"factor {factor}: got the one level {factors[factor][0]!r}, expected at least two")
    return factors[factor]


def _complete(cells: Cells) -> dict[str, list[str]]:
    if not cells:
        raise ValueError("cells: got none, expected a crossed design")
    names = list(cells[0])
    for cell in cells:
        if set(cell) != set(names):
            raise ValueError(f"cell {dict(cell)}: got other factors, expected {', '.join(names)}")
    levels = {name: list(dict.fromkeys(cell[name] for cell in cells)) for name in names}
    counts = Counter(tuple(cell[name] for name in names) for cell in cells)
    combination, times = counts.most_common(1)[0]
    if times > 1:
        raise ValueError(f"design: got {times} cells {_named(names, combination)}, expected one; aggregate them first")
    if len(counts) != math.prod(map(len, levels.values())):
        missing = next(c for c in product(*levels.values()) if c not in counts)
        raise ValueError(
            f"unbalanced design: got no cell {_named(names, missing)}, expected every combination; "
            "keep the cells whose levels are fully crossed"
        )
    return levels


def _named(names: list[str], combination: tuple[str, ...]) -> str:
    return ", ".join(f"{name}={level}" for name, level in zip(names, combination, strict=True))
