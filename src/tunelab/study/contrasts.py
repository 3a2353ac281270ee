"""Contrasts: comparisons that a study declares beside each variant against its baseline, of any two of its cells.

A baseline is asked under the same evaluation. What is asked under another one, as a large model behind a server is,
shares no evaluation with the variants but may well share the items; a contrast is taken on those, pair by pair. The
two sides then differ in more than the variant, and ``differing`` names all of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from tunelab.errors import StudyError, nearest
from tunelab.study.cells import Cell, plain_name
from tunelab.study.spec import Study

Pair = tuple[str, str]
"""Names of two cells: the first minus the second."""


def contrasts(study: Study, cells: Sequence[Cell]) -> list[Pair]:
    """Return the declared contrasts of the cells that are there, each once.

    A name stands for all its seeds and all points of a sweep; two runs that both have a seed, or a point, are paired
    where it is the same.
    """
    pairs = (
        (one.name, other.name)
        for first, second in study.contrasts
        for one, other in product(_named(first, cells), _named(second, cells))
        if one.name != other.name and _together(one, other)
    )
    return list(dict.fromkeys(pairs))


def refuse_unknown(study: Study, cells: Sequence[Cell], left_out: Collection[str]) -> None:
    """Raise StudyError for a side that is no cell of the study, unless the selection may have left it out."""
    known = [*dict.fromkeys(name for cell in cells for name in (_plain(cell.name), cell.name)), *left_out]
    for side in (side for pair in study.contrasts for side in pair):
        if side not in known and not study.unselected:
            raise StudyError(f"contrasts: got {side!r}, expected a cell, VARIANT/EVALUATION{nearest(side, known)}")


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return what two cells differ in, as ``cells.describe_cell`` describes them: factors, then other settings."""
    found = [name for name, level in one["factors"].items() if level != other["factors"][name]]
    for kind in ("recipe", "evaluation"):
        sides = (one["others"].get(kind), other["others"].get(kind))
        if all(sides) and sides[0] != sides[1]:
            found += [f"{kind}.{name}" for name in _unequal(*sides)]
    return found


def _unequal(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    return (name for name in {**one, **other} if one.get(name) != other.get(name))


def _named(side: str, cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if side in (cell.name, _plain(cell.name))]


def _plain(name: str) -> str:
    return "/".join(map(plain_name, name.split("/")))


def _together(one: Cell, other: Cell) -> bool:
    """Say whether no seed and no point of a sweep tells two cells apart that both have one."""
    seeds = {cell.variant.seed for cell in (one, other) if cell.variant.train}
    variants, evaluations = (
        {name.partition("@")[2] for name in names} - {""}
        for names in ((one.variant.name, other.variant.name), (one.evaluation.name, other.evaluation.name))
    )
    return max(map(len, (seeds, variants, evaluations))) < 2
