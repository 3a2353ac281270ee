"""Which factor effects a study's cells can show, fairly.

A study is seldom fully crossed: one recipe has both losses, another has one. An effect is therefore taken within
the cells where all else is equal: for each combination of the other factors in which every level occurs, level
minus reference, averaged over those combinations. A factor for which there is no such combination has no effect
to show, and none is shown. Where not all formats are crossed, matched minus mismatched is taken for each pair that is.

Methods cannot agree in their hyperparameters: a learning rate that suits one ruins another, and so it is with full
weights and adapters. A level of the factors ``method`` and ``adaptation`` therefore has its own recipe; only what is
no part of a recipe is held equal. Where one level has several recipes in a combination, their mean stands for it,
and ``meaning`` says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from tunelab.stats import interaction, main_effects

Factors = Mapping[str, str | None]
NO_FACTORS = ("seed", "evaluation", "recipe")
"""What must be equal in a pair of cells and is no factor itself."""
OWN = {"method": ("loss", "recipe"), "adaptation": ("recipe",)}
"""What belongs to a level of a factor, so that it cannot be held equal when the factor varies."""
ORDER = {
    "method": ("sft", "seq2seq", "grpo", "dpo"),
    "adaptation": ("full", "lora", "qlora"),
    "loss": ("all", "completion"),
}
"""Levels from the usual to the special: of two, the first is the reference."""
FORMATS = ("train_format", "eval_format")
WORDS = {"train_format": "training format", "eval_format": "evaluation format", "trained_on": "training data"}
MATCHED = "formats: matched - mismatched"
PANEL = ("model", "method", "adaptation")
"""What tells the panels of an interaction apart; recipes, losses and seeds are averaged within one."""


@dataclass(frozen=True)
class Effect:
    """A contrast: ``weights`` has one entry per cell and sums to 0; ``levels`` are what is taken minus what."""

    name: str
    factors: tuple[str, ...]
    levels: tuple[str, str]
    meaning: str
    weights: npt.NDArray[np.float64]
    formats: tuple[str, ...] = ()
    """The formats that are crossed, of matched minus mismatched."""


@dataclass(frozen=True)
class Corner:
    """The cells, by index, of one training format under one evaluation format, with what names their panel."""

    panel: Mapping[str, str]
    train_format: str
    eval_format: str
    cells: tuple[int, ...]


@dataclass(frozen=True)
class _Place:
    """The cells of one level, or one pair of levels, in one combination of the other factors."""

    levels: Mapping[str, str]
    rest: str
    cells: Sequence[int]


def effects(cells: Sequence[Factors], plain: Collection[str] = ()) -> list[Effect]:
    """Return the main effect of each factor that varies, and matched minus mismatched formats.

    ``plain`` names the formats without a template: of two formats such a one is the reference.
    """
    found = [effect for factor in _varying(cells) for effect in _main(cells, factor, plain)]
    return found + _matched(cells, plain)


def corners(cells: Sequence[Factors], plain: Collection[str] = ()) -> list[Corner]:
    """Return what an interaction plot of the formats shows: the cells that matched minus mismatched is made of.

    Formats without a template come first, panels in the order of the cells.
    """
    grouped: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    shown = dict.fromkeys(i for places in _crossings(cells, plain).values() for place in places for i in place.cells)
    for i in shown:
        grouped[tuple(str(cells[i].get(name)) for name in (*PANEL, *FORMATS))].append(i)
    return [
        Corner(dict(zip(PANEL, key, strict=False)), key[-2], key[-1], tuple(members))
        for key, members in grouped.items()
    ]


def _varying(cells: Sequence[Factors]) -> list[str]:
    return [f for f in cells[0] if f not in NO_FACTORS and len(_levels(cells, f)) > 1] if cells else []


def _levels(cells: Sequence[Factors], factor: str, plain: Collection[str] = ()) -> list[str]:
    """Return a factor's levels, references first; a cell in which the factor means nothing has none."""
    order = plain if factor in FORMATS else ORDER.get(factor, ())
    ranks = {level: rank for rank, level in enumerate(order)}
    found = dict.fromkeys(level for c in cells if (level := c.get(factor)) is not None)
    return sorted(found, key=lambda level: ranks.get(level, len(ranks)))


def _main(cells: Sequence[Factors], factor: str, plain: Collection[str]) -> list[Effect]:
    found: list[Effect] = []
    for first, second in combinations(_levels(cells, factor, plain), 2):
        places = _complete(cells, (factor,), [{factor: first}, {factor: second}])
        if places:
            design = [{factor: place.levels[factor], "rest": place.rest} for place in places]
            [(name, weights)] = main_effects(design, factor, reference=first).items()
            spread = _spread(weights, places, len(cells))
            meaning = _meaning(factor, places)
            found.append(Effect(f"{_words(factor)}: {name}", (factor,), (second, first), meaning, spread))
    return found


def _meaning(factor: str, places: Sequence[_Place]) -> str:
    if factor not in OWN:
        return f"mean over {len(places) // 2} pairs of cells that differ in {_words(factor)} only"
    text = f"mean over {len(places) // 2} pairs that agree in all but the {factor} and its own recipe"
    for level in dict.fromkeys(place.levels[factor] for place in places):
        counts = sorted({len(place.cells) for place in places if place.levels[factor] == level})
        if counts[-1] > 1:
            text += f"; {level} is the mean of its {' to '.join(map(str, counts))} recipes"
    return text


def _matched(cells: Sequence[Factors], plain: Collection[str]) -> list[Effect]:
    """Matched minus mismatched over the formats that occur on both sides, or over each crossed pair of them."""
    found: list[Effect] = []
    for formats, places in _crossings(cells, plain).items():
        weights = interaction([{**place.levels, "rest": place.rest} for place in places], *FORMATS)
        meaning = "training and evaluation in the same format, minus in different ones"
        spread = _spread(weights, places, len(cells))
        found.append(Effect(MATCHED, FORMATS, ("matched", "mismatched"), meaning, spread, formats))
    if len(found) > 1:
        return [_of_pair(effect) for effect in found]
    return found


def _of_pair(effect: Effect) -> Effect:
    pair = " and ".join(effect.formats)
    return replace(effect, name=f"{MATCHED} ({pair})", meaning=f"of {pair}: {effect.meaning}")


def _crossings(cells: Sequence[Factors], plain: Collection[str] = ()) -> dict[tuple[str, ...], list[_Place]]:
    """Return the complete crossings by the formats that occur on both sides; where not all are crossed, by pair."""
    train, evaluation = FORMATS
    both = tuple(level for level in _levels(cells, train, plain) if level in _levels(cells, evaluation))
    for size in dict.fromkeys((len(both), 2)):
        crossed = {
            chosen: _complete(cells, FORMATS, [{train: a, evaluation: b} for a in chosen for b in chosen])
            for chosen in combinations(both, size)
        }
        if found := {chosen: places for chosen, places in crossed.items() if len(chosen) > 1 and places}:
            return found
    return {}


def _complete(cells: Sequence[Factors], factors: tuple[str, ...], wanted: Sequence[Mapping[str, str]]) -> list[_Place]:
    """Return the places of every combination of the other factors that has each wanted one.

    Each must hold one cell: two that differ in nothing known are no pair. Only recipes of a method may be several.
    """
    groups: defaultdict[str, list[list[int]]] = defaultdict(lambda: [[] for _ in wanted])
    free = {*factors, *(name for factor in factors for name in OWN.get(factor, ()))}
    for index, cell in enumerate(cells):
        for slot, levels in enumerate(wanted):
            if all(cell.get(f) == level for f, level in levels.items()):
                groups[repr(sorted((k, v) for k, v in cell.items() if k not in free))][slot].append(index)
    several = len(free) > len(factors)
    whole = {rest: slots for rest, slots in groups.items() if all(len(s) == 1 or (several and s) for s in slots)}
    return [_Place(levels, rest, slot) for rest, s in whole.items() for levels, slot in zip(wanted, s, strict=True)]


def _spread(weights: npt.NDArray[np.float64], places: Sequence[_Place], n: int) -> npt.NDArray[np.float64]:
    """Give each cell its share of its place's weight."""
    spread = np.zeros(n)
    for weight, place in zip(weights, places, strict=True):
        spread[list(place.cells)] = weight / len(place.cells)
    return spread


def _words(factor: str) -> str:
    return WORDS.get(factor, factor)
