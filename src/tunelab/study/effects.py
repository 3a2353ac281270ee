"""Which factor effects a study's cells can show, fairly.

A study is seldom fully crossed: one recipe has both losses, another has one. An effect is therefore taken within
the cells where all else is equal: for each combination of the other factors in which every level occurs, level
minus reference, averaged over those combinations. A factor for which there is no such combination has no effect
to show, and none is shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from tunelab.stats import interaction, main_effects

Factors = Mapping[str, str | None]
NO_FACTORS = ("seed", "others")
"""What must be equal in a pair of cells and is no factor itself."""
PAIRED_FORMATS = ("train_format", "eval_format")


@dataclass(frozen=True)
class Effect:
    """A contrast: ``weights`` has one entry per cell and sums to 0."""

    name: str
    factors: tuple[str, ...]
    meaning: str
    weights: npt.NDArray[np.float64]


def effects(cells: Sequence[Factors]) -> list[Effect]:
    """Return the main effect of each factor that varies, and matched minus mismatched formats."""
    varying = [f for f in cells[0] if f not in NO_FACTORS and len({c[f] for c in cells}) > 1] if cells else []
    found = [effect for factor in varying for effect in _main(cells, factor)]
    if set(PAIRED_FORMATS) <= set(varying):
        found += _matched(cells)
    return found


def _main(cells: Sequence[Factors], factor: str) -> list[Effect]:
    found: dict[str, Effect] = {}
    levels = list(dict.fromkeys(str(c[factor]) for c in cells))
    for first, second in combinations(levels, 2):
        kept = _complete(cells, (factor,), [{factor: first}, {factor: second}])
        if not kept:
            continue
        design = [{factor: str(cells[i][factor]), "rest": _rest(cells[i], (factor,))} for i in kept]
        for name, weights in main_effects(design, factor, reference=first).items():
            meaning = f"mean over {len(kept) // 2} pairs of cells that differ in {_words(factor)} only"
            found[name] = Effect(f"{_words(factor)}: {name}", (factor,), meaning, _spread(weights, kept, len(cells)))
    return list(found.values())


def _matched(cells: Sequence[Factors]) -> list[Effect]:
    """Matched minus mismatched over the formats that occur on both sides."""
    train, evaluation = PAIRED_FORMATS
    both = sorted({str(c[train]) for c in cells} & {str(c[evaluation]) for c in cells})
    if len(both) < 2:
        return []
    kept = _complete(cells, PAIRED_FORMATS, [{train: a, evaluation: b} for a in both for b in both])
    if not kept:
        return []
    design = [
        {train: str(cells[i][train]), evaluation: str(cells[i][evaluation]), "rest": _rest(cells[i], PAIRED_FORMATS)}
        for i in kept
    ]
    weights = interaction(design, train, evaluation)
    meaning = "training and evaluation in the same format, minus in different ones"
    return [Effect("formats: matched - mismatched", PAIRED_FORMATS, meaning, _spread(weights, kept, len(cells)))]


def _complete(cells: Sequence[Factors], factors: Sequence[str], wanted: Sequence[Mapping[str, str]]) -> list[int]:
    """Return the cells, by index, of every combination of the other factors that has each wanted level just once."""
    groups: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for index, cell in enumerate(cells):
        for slot, levels in enumerate(wanted):
            if all(str(cell[f]) == level for f, level in levels.items()):
                groups[_rest(cell, factors)].append((slot, index))
    once = list(range(len(wanted)))
    return [i for group in groups.values() if sorted(s for s, _ in group) == once for _, i in group]


def _rest(cell: Factors, factors: Sequence[str]) -> str:
    return repr(sorted((k, v) for k, v in cell.items() if k not in factors))


def _spread(weights: npt.NDArray[np.float64], kept: Sequence[int], n: int) -> npt.NDArray[np.float64]:
    spread = np.zeros(n)
    spread[list(kept)] = weights
    return spread


def _words(factor: str) -> str:
    return {"train_format": "training format", "eval_format": "evaluation format"}.get(factor, factor)
