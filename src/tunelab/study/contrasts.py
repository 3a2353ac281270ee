"""Contrasts: comparisons that a study declares beside each variant against its baseline, of any two of its cells.

A baseline is asked under the same evaluation. What is asked under another one, as a large model behind a server is,
shares no evaluation with the variants but may well share the items; a contrast is taken on those, pair by pair. The
two sides then differ in more than the variant, and ``differing`` names all of it, as a study file does. What would
say nothing, or say it twice in one family, is refused before anything runs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any

from tunelab.engine.step import Step
from tunelab.errors import StudyError, nearest
from tunelab.study.cells import BASE, Cell, plain_name
from tunelab.study.spec import Study

Pair = tuple[Cell, Cell]
"""The first minus the second."""
SAYS_NOTHING = {"at_least", "expected", "of", "format", "model", "task", "published", "on_request", "from_checkpoint"}
"""Fields of entries that change no answer, or are told by what they stand for."""


def contrasts(study: Study, cells: Sequence[Cell]) -> list[Pair]:
    """Return the declared contrasts of the cells that are there, each once.

    A name without seed and point of a sweep stands for all of them, and two such names are paired where neither tells
    their cells apart.
    """
    found = [pair for declared in study.contrasts for pair in _pairs(declared, cells)]
    return list({(one.name, other.name): (one, other) for one, other in found}.values())


def refuse_impossible(study: Study, cells: Sequence[Cell], left_out: Collection[str]) -> None:
    """Raise StudyError for a side that is no cell, unless a selection left it out, and for what is no new contrast."""
    known = [*dict.fromkeys(name for cell in cells for name in (_plain(cell), cell.name)), *left_out]
    for declared in study.contrasts:
        for side in declared:
            if side not in known and not _is_unselected(study, side):
                raise StudyError(f"contrasts: got {side!r}, expected a cell, VARIANT/EVALUATION{nearest(side, known)}")
        if all(_named(side, cells) for side in declared) and not _pairs(declared, cells):
            raise StudyError(
                f"contrasts: got [{', '.join(declared)}], expected cells that share a seed and a point of the sweep; "
                "write the seed or the point behind each name"
            )
    pairs = contrasts(study, cells)
    for one, other in pairs:
        if reason := _why_not(one, other, pairs):
            raise StudyError(f"contrasts: got [{one.name}, {other.name}]: {reason}")


def refuse_other_rows(pairs: Sequence[Pair], scores: Mapping[str, Step]) -> None:
    """Raise StudyError for cells that are scored on other rows; ``scores`` are the cells' steps by name."""
    for one, other in pairs:
        rows = [scores[cell.name].inputs["rows"].fingerprint for cell in (one, other)]
        if rows[0] != rows[1]:
            raise StudyError(
                f"contrasts: got [{one.name}, {other.name}]: expected cells on the same rows; give "
                f"evaluate.{one.evaluation.name} and evaluate.{other.evaluation.name} one split, rows and rows_seed"
            )


def differing(one: Cell, other: Cell) -> list[str]:
    """Return all that two cells differ in, by the names of a study file; of untrained against trained "training"."""
    sides = [_about(cell) for cell in (one, other)]
    if (one.variant.train is None) != (other.variant.train is None):
        sides = [{k: v for k, v in side.items() if not k.startswith(("train.", "seed"))} for side in sides]
        return [*_unequal(*sides), "training"]
    return _unequal(*sides)


def _about(cell: Cell) -> dict[str, Any]:
    variant, evaluation = cell.variant, cell.evaluation
    about: dict[str, Any] = {
        "model": variant.model,
        "server": variant.served and variant.served.declared(),
        "checkpoint": variant.checkpoint,
        "outputs": variant.imported and variant.imported[plain_name(evaluation.name)],
        "evaluate.format": evaluation.format,
        **_flat("evaluate", evaluation.settings.model_dump(exclude=SAYS_NOTHING)),
    }
    if variant.train is None:
        return about
    trained = {"seed": variant.seed, "train.task": variant.task, "train.format": variant.format}
    return {**about, **trained, **_flat("train", variant.train.model_dump(exclude=SAYS_NOTHING))}


def _flat(prefix: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        place = f"{prefix}.{name}"
        found |= _flat(place, value) if isinstance(value, dict) else {place: value}
    return found


def _unequal(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [name for name in {**one, **other} if one.get(name) != other.get(name)]


def _pairs(declared: tuple[str, str], cells: Sequence[Cell]) -> list[Pair]:
    found = [*product(*(_named(side, cells) for side in declared))]
    plainly = all(side in map(_plain, cells) for side in declared)
    return [(one, other) for one, other in found if not plainly or _together(one, other)]


def _named(side: str, cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if side in (cell.name, _plain(cell))]


def _plain(cell: Cell) -> str:
    return f"{plain_name(cell.variant.name)}/{plain_name(cell.evaluation.name)}"


def _is_unselected(study: Study, side: str) -> bool:
    """Say whether a selection may have left out a cell: variants are, and models that only they are trained from."""
    variant, _, evaluation = side.rpartition("/")
    if not study.unselected or evaluation not in study.evaluate:
        return False
    return plain_name(variant) in study.unselected or variant.startswith(f"{BASE}_")


def _together(one: Cell, other: Cell) -> bool:
    """Say whether no seed and no point of a sweep tells two cells apart that both have one.

    Weights from elsewhere have no seed of ours, and of an untouched model only the model tells points apart.
    """
    trained = [cell.variant for cell in (one, other) if cell.variant.train]
    seeds = {variant.seed for variant in trained if variant.train and not variant.train.from_checkpoint}
    variants, evaluations = (
        {name.partition("@")[2] for name in names} - {""}
        for names in ((one.variant.name, other.variant.name), (one.evaluation.name, other.evaluation.name))
    )
    if len(trained) < 2 and len(variants) == 2:
        variants = {one.variant.model, other.variant.model}
    return max(map(len, (seeds, variants, evaluations))) < 2


def _why_not(one: Cell, other: Cell, pairs: Sequence[Pair]) -> str:
    """Say why two cells are no contrast, as far as that is known before anything runs; an empty text when they are."""
    if one.name == other.name:
        return "both are the same cell, expected two"
    if (other, one) in pairs:
        return "the same two are contrasted the other way round too; leave one out"
    if _is_baseline(one, other) or _is_baseline(other, one):
        return "one is the other's baseline, with which it is compared anyway; leave it out"
    tasks = (one.evaluation.task, other.evaluation.task)
    if tasks[0] != tasks[1]:
        return f"expected cells of one task, and they are of {tasks[0]} and {tasks[1]}"
    if one.by != other.by:
        return f"expected cells that answer in one way, and they answer by {one.by} and by {other.by}; write by"
    return ""


def _is_baseline(one: Cell, other: Cell) -> bool:
    return one.evaluation == other.evaluation and other.baseline is not None and other.baseline.name == one.variant.name
