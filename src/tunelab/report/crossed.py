"""The answer of a crossed design: what the format does in training, in evaluation, and when the two agree.

Everything follows from three effects and their verdicts. "Mainly" is said of an effect only if its interval lies
farther from 0 than those of both others reach; "undecided" comes with what could have been seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunelab.report.wording import could_see_of, listing, signed, signed_range, would_take

Row = Mapping[str, Any]
TRAINING, EVALUATION, MATCHED = ["train_format"], ["eval_format"], ["train_format", "eval_format"]
PLACES = ("in training", "in evaluation", "when training and evaluation disagree")


def is_matched_effect(effect: Row) -> bool:
    """Say whether an effect is the matched minus mismatched contrast of the formats."""
    return effect["factors"] == MATCHED


def crossed_effects(effects: Sequence[Row]) -> list[Row]:
    """Return the effects of training format, evaluation format and their match; empty unless there is one of each.

    With more formats or tasks there are several of a kind, and one sentence cannot hold them.
    """
    kinds = [[e for e in effects if e["factors"] == kind] for kind in (TRAINING, EVALUATION, MATCHED)]
    one_each = all(len(found) == 1 for found in kinds)
    return [found[0] for found in kinds] if one_each and kinds[0][0]["levels"] == kinds[1][0]["levels"] else []


def crossed_answer(found: Sequence[Row]) -> str:
    """Say where the format is shown to matter, and what ``crossed_effects`` found."""
    level, reference = found[0]["levels"]
    training, evaluation, matched = map(amount, found)
    return (
        f"{_conclusion(found)}: training in {level} instead of {reference} changes the score by {training}, evaluating "
        f"in it by {evaluation}, and the same format in both instead of different ones by {matched}"
    )


def amount(effect: Row) -> str:
    """Write an effect with its interval; where it is undecided, what could have been seen and what it would take."""
    written = f"{signed(effect['value'])} {signed_range(effect)}"
    if effect["verdict"] != "undecided":
        return written
    return f"{written} (undecided: {could_see_of([effect])}{would_take([effect])})"


def _conclusion(found: Sequence[Row]) -> str:
    decided = [i for i, effect in enumerate(found) if effect["verdict"] != "undecided"]
    if not decided:
        return "Whether the format matters is undecided"
    if main := [i for i in decided if _dominates(found, i)]:
        return f"The format matters mainly {_where(found, main[0])}"
    return f"The format is shown to matter {listing([_where(found, i) for i in decided])}"


def _where(found: Sequence[Row], place: int) -> str:
    """Name a place; that disagreement raises a score is so unexpected that it is said."""
    surprising = is_matched_effect(found[place]) and found[place]["value"] < 0
    return f"{PLACES[place]}, which scores higher" if surprising else PLACES[place]


def _dominates(found: Sequence[Row], place: int) -> bool:
    """Say whether an effect's interval lies farther from 0 than the intervals of the others reach."""
    nearest = min(abs(found[place]["low"]), abs(found[place]["high"]))
    others = [effect for i, effect in enumerate(found) if i != place]
    return all(nearest > max(abs(effect["low"]), abs(effect["high"])) for effect in others)
