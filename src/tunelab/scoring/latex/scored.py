"""The score of a solution in LaTeX: equivalence of its answer to the gold one, and equality as text beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tunelab.scoring.latex.answers import answer_of, gold_of
from tunelab.scoring.latex.forms import exact, tidied
from tunelab.scoring.latex.pool import ComparisonError, Verdict, shared
from tunelab.scoring.score import Metric, Outcome, Score, judged

EQUIVALENT = Metric("equivalent", definition="equal to the gold answer as text or by math-verify, asked gold first")
EXACT = Metric("exact", definition="equal to the gold answer as text, but for layout, units, degrees, % and $")
METRICS = (EQUIVALENT, EXACT)
LONGEST = 2000
"""Characters of an answer that is compared as mathematics."""

Finding = Verdict | Literal["long"]
WHY: dict[Finding, str] = {
    "different": "",
    "unreadable": "; math-verify cannot read the answer",
    "long": f"; not compared: longer than {LONGEST} characters",
    "timeout": "; the comparison took too long",
}
"""What is told of an answer that is not the gold one."""


def solution_score(solutions: Sequence[str], output: str) -> Score:
    """Score an output against the answers of its gold solutions.

    Where no comparison could be made, or a solution has no answer, it is unscored.
    """
    golds = [gold for solution in solutions if (gold := gold_of(solution))]
    if len(golds) < len(solutions):
        return Score(Outcome.UNSCORED, explanation="the gold solution has no answer in \\boxed{}")
    answer, told = answer_of(output), f"gold {', '.join(golds) or 'none'}"
    if answer is None:
        return judged(False, None, _values(0, 0), told)
    if any(exact(gold, answer) for gold in golds):
        return judged(True, answer, _values(1, 1), told)
    try:
        finding = compared(golds, answer)
    except ComparisonError as error:
        return Score(Outcome.UNSCORED, answer=answer, explanation=str(error))
    if finding == "timeout":
        return Score(Outcome.TIMEOUT, _values(0, 0), answer, told + WHY[finding])
    return judged(finding == "equal", answer, _values(finding == "equal", 0), told + WHY.get(finding, ""))


def compared(golds: Sequence[str], answer: str) -> Finding:
    """Return what mathematics says of an answer: equal to one of the golds, or why not. Raises ComparisonError."""
    found: set[Finding] = {"different"}
    for gold in golds:
        if "equal" in found:
            break
        long = max(len(gold), len(answer)) > LONGEST
        found.add("long" if long else shared().verdict(tidied(gold), tidied(answer)))
    return next(finding for finding in ("equal", "timeout", "long", "unreadable", "different") if finding in found)


def _values(equivalent: float, exact: float) -> dict[str, float]:
    return {EQUIVALENT.name: float(equivalent), EXACT.name: float(exact)}
