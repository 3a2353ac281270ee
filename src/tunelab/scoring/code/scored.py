"""The score of a program: 1 when it passes every test, 0 when it fails one, and none when it could not be judged."""

from __future__ import annotations

from tunelab.errors import StepError
from tunelab.scoring.code.pool import Program, shared
from tunelab.scoring.code.sandbox import Choice
from tunelab.scoring.score import Metric, Outcome, Score

PASS_AT_1 = Metric(
    "pass_at_1",
    definition="share of programs that pass all tests of their problem",
    at={5: "pass_at_5", 10: "pass_at_10", 100: "pass_at_100"},
)


def program_score(program: Program, code: str, sandbox: Choice) -> Score:
    """Judge a program; ``code`` is what was taken from the answer, and empty is no answer.

    The explanation says which test failed and how.
    """
    if not code.strip():
        return Score(Outcome.NO_ANSWER, {PASS_AT_1.name: 0.0}, explanation="no code in the output")
    if not program.tests:
        return Score(Outcome.UNSCORED, answer=code, explanation="the sample has no tests")
    try:
        verdict = shared(sandbox).verdict(program)
    except StepError as error:
        return Score(Outcome.UNSCORED, explanation=str(error))
    outcome = {"passed": Outcome.CORRECT, "failed": Outcome.WRONG, "timeout": Outcome.TIMEOUT}[verdict.kind]
    why = "" if verdict.passed else f"{verdict.stage}: {verdict.reason}"
    return Score(outcome, {PASS_AT_1.name: float(verdict.passed)}, code, why)
