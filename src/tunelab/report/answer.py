"""The first screen's sentence: what the study found, in numbers, and no more than it found.

It is built from verdicts that the comparison already gave; nothing is computed here but sorting and counting.
"Undecided" is never "no difference", so the smallest difference that could have been seen stands beside it. One
or two seeds speak of checkpoints, three or more of recipes. A smoke run answers nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunelab.report.crossed import crossed_answer, crossed_effects, is_matched_effect
from tunelab.report.over_seeds import decided, floor_of, seed_counts
from tunelab.report.wording import could_see_of, listing, number, signed, signed_range, would_take

LISTED = 4
"""Cells named per verdict; the largest differences come first and the rest are counted."""

Row = Mapping[str, Any]
VERDICTS = ("better", "worse", "undecided")


def first_screen(comparison: Mapping[str, Any], study: Mapping[str, Any]) -> str:
    """Answer a study's question in one sentence of plain text."""
    total = len(comparison["cells"]) + len(comparison["holes"])
    cells = [cell for cell in comparison["cells"] if cell["metrics"][cell["headline"]]["value"] is not None]
    comparison = {**comparison, "cells": cells}
    if not cells:
        return f"No cell of {total} has a score, so there is nothing to answer with."
    if study["smoke"]:
        return (
            f"This smoke run is too small to conclude anything; it shows that the study runs: "
            f"{len(cells)} of {total} {_plural('cell', total)} have a score."
        )
    parts = _found(comparison) + _contrasts(comparison) + _missing(comparison, total)
    return "; ".join(parts + _seeds(cells, comparison) + _floor(comparison)) + "."


def _found(comparison: Mapping[str, Any]) -> list[str]:
    recipes = decided(comparison["recipes"])
    seeds = {name for row in recipes for name in row["cells"]}
    compared = recipes + [r for r in comparison["comparisons"] if "refused" not in r and r["cell"] not in seeds]
    crossed = crossed_effects(comparison["effects"])
    if crossed:
        return [crossed_answer(crossed), *_counts(compared, "recipe" if recipes else "cell")]
    if not compared:
        return [*_scores(comparison), *_matched(comparison)]
    cells = {cell["cell"]: cell for cell in comparison["cells"]} | {r["cell"]: _mean_of(r) for r in recipes}
    several = len({cell["evaluation"] for cell in cells.values()}) > 1
    clauses = [_claim([r for r in compared if r["verdict"] == v], v, cells, several) for v in VERDICTS]
    kept = [clause for clause in clauses if clause]
    return [f"Compared with {_against(compared)} on the same items, {kept[0]}", *kept[1:], *_matched(comparison)]


def _against(compared: Sequence[Row]) -> str:
    """Name the baseline that rows are compared with, or what several of them are."""
    named = list(dict.fromkeys(row["baseline"].rpartition("/")[0].partition("#")[0] for row in compared))
    return named[0] if len(named) == 1 else f"its own baseline ({listing(named)})"


def _mean_of(recipe: Row) -> Row:
    """A recipe as a cell is named."""
    return {"variant": f"{recipe['recipe']} over {len(recipe['seeds'])} seeds", "evaluation": recipe["evaluation"]}


def _counts(compared: Sequence[Row], word: str) -> list[str]:
    """Count the verdicts: the question of a crossed design is answered by its factors."""
    groups = [(v, [r for r in compared if r["verdict"] == v]) for v in VERDICTS]
    counted = [f"{len(rows)} {'is' if len(rows) == 1 else 'are'} {v} ({_amount(rows)})" for v, rows in groups if rows]
    if not counted:
        return []
    total = f"{len(compared)} {_plural(word, len(compared))}"
    return [f"of {total} compared with {_against(compared)} on the same items, {listing(counted)}"]


def _claim(rows: Sequence[Row], word: str, cells: Mapping[str, Row], several: bool) -> str:
    """Say that cells are better, worse or undecided, and by how much; an empty text when none is."""
    if not rows:
        return ""
    largest = sorted(rows, key=lambda row: -abs(row["difference"]))
    names = [_named(cells[row["cell"]], several) for row in largest[:LISTED]]
    if more := len(rows[LISTED:]):
        names.append(f"{more} more {_plural('cell', more)}")
    return f"{listing(names)} {'is' if len(rows) == 1 else 'are'} {word} ({_amount(rows)})"


def _named(cell: Row, several: bool) -> str:
    return f"{cell['variant']} under {cell['evaluation']}" if several else cell["variant"]


def _amount(rows: Sequence[Row]) -> str:
    """Write one difference with its interval, or the range of several; where undecided, what could have been seen."""
    differences = [row["difference"] for row in rows]
    amount = f"{signed(min(differences))} to {signed(max(differences))}"
    if len(rows) == 1:
        amount = f"{signed(differences[0])} {signed_range(rows[0])}"
    if rows[0]["verdict"] != "undecided":
        return amount
    return f"{amount}, {could_see_of(rows)}{would_take(rows)}"


def _contrasts(comparison: Mapping[str, Any]) -> list[str]:
    """Say each contrast that the study declares, the largest first; what could not be taken stands elsewhere."""
    found = sorted((r for r in comparison["contrasts"] if "refused" not in r), key=lambda r: -abs(r["difference"]))
    named = [f"{r['cell']} minus {r['baseline']} is {_amount([r])}, {r['verdict']}" for r in found[:LISTED]]
    more = [f"{len(found) - LISTED} more {_plural('contrast', len(found) - LISTED)}"] if len(found) > LISTED else []
    return [f"of cells declared to be contrasted, {listing(named + more)}"] if found else []


def _scores(comparison: Mapping[str, Any]) -> list[str]:
    """Say the scores where nothing could be compared."""
    refused = [row["refused"] for row in comparison["comparisons"]]
    start = f"Nothing could be compared: {refused[0]}" if refused else "No variant has a baseline to compare it with"
    named = [
        f"{cell['variant']} scores {number(found['value'])} under {cell['evaluation']}"
        for cell in comparison["cells"]
        if (found := cell["metrics"][cell["headline"]])["value"] is not None
    ]
    more = [f"{len(named) - LISTED} more"] if len(named) > LISTED else []
    return [start, *([listing(named[:LISTED] + more)] if named else [])]


def _matched(comparison: Mapping[str, Any]) -> list[str]:
    effects = [effect for effect in comparison["effects"] if is_matched_effect(effect)]
    several = len({effect["task"] for effect in effects}) > 1
    by_pair = len({tuple(effect["formats"]) for effect in effects}) > 1
    return [
        f"evaluating in the training format instead of another changes the score by {signed(effect['value'])} "
        + signed_range(effect)
        + (f", which is undecided{would_take([effect])}" if effect["verdict"] == "undecided" else "")
        + (f", between {listing(effect['formats'])}" if by_pair else "")
        + (f", on {effect['task']}" if several else "")
        for effect in effects
    ]


def _missing(comparison: Mapping[str, Any], total: int) -> list[str]:
    holes = total - len(comparison["cells"])
    wrong = sum("error" in cell for cell in comparison["cells"])
    lines = [f"{holes} of {total} cells {'has' if holes == 1 else 'have'} no result"] if holes else []
    return lines + (
        [f"{wrong} of {total} cells {'has' if wrong == 1 else 'have'} another n than expected"] * bool(wrong)
    )


def _floor(comparison: Mapping[str, Any]) -> list[str]:
    floor = floor_of(comparison["noise"])
    return [floor] if floor else []


def _seeds(cells: Sequence[Row], comparison: Mapping[str, Any]) -> list[str]:
    """Say what the trained variants stand for."""
    if found := [row for row in comparison["recipes"] if "value" in row]:
        effects = any(is_matched_effect(effect) for effect in comparison["effects"])
        but = ", but the effects of formats hold for these checkpoints" if effects else ""
        apart = f"whose seeds lie up to {number(max(row['between_seed_sd'] for row in found))} (SD) apart"
        return [f"with {seed_counts(found)} seeds each this speaks of recipes, {apart}{but}"]
    trained = {cell["variant"]: cell["seed"] for cell in cells if cell["seed"] is not None}
    seeds = len(set(trained.values()))
    if not trained:
        return []
    if seeds == 1:
        of = "this checkpoint, not of its recipe" if len(trained) == 1 else "these checkpoints, not of their recipes"
        return [f"with one seed this speaks of {of}"]
    return [
        f"with {seeds} seeds this speaks of these checkpoints, not of their recipes, which takes 3 that can be compared"
    ]


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
