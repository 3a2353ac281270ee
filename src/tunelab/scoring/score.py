"""What scoring a sample yields, and what a metric is.

An outcome says why a value is what it is. ``unscored`` has no value at all: it is not zero. ``truncated`` and
``no_answer`` have the value zero in an accuracy, as the field computes it, and are counted apart so that nobody
mistakes a cut-off budget for a wrong model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

import numpy as np
import numpy.typing as npt

Total = Callable[[npt.NDArray[np.float64]], float]
"""From the summed parts of the items, shape (parts,), to the value of a corpus metric on its own scale."""


class Outcome(StrEnum):
    """Why a sample scored as it did."""

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    TRUNCATED = "truncated"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNSCORED = "unscored"


@dataclass(frozen=True)
class Score:
    """The score of one output.

    ``values`` maps metric names to numbers on the metric's own scale; it is empty exactly when the outcome is
    ``unscored``. ``answer`` is the text that was taken from the output and compared. ``parts`` has, for each corpus
    metric, the counts of this output that are summed over the items before the metric is computed.
    """

    outcome: Outcome
    values: Mapping[str, float] = field(default_factory=dict[str, float])
    answer: str | None = None
    explanation: str = ""
    parts: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])


@dataclass(frozen=True)
class Metric:
    """A named metric of a task: the mean of per-sample values, or ``total`` of the summed parts of all samples.

    A corpus metric (BLEU, F1 of a class) has a ``total``; its per-sample values serve rewards and readers only.
    ``binary`` values are 0 or 1 and get McNemar's test and Wilson intervals, or the exact ones that ``interval`` asks
    for: those of safety rates. ``scale`` is 100 where the metric's
    reference reports points out of 100, else 1. ``definition`` says what the name alone leaves open: a sentence
    splitter, a signature; it stands beside the value wherever that is reported.
    """

    name: str
    binary: bool = True
    scale: float = 1.0
    total: Total | None = None
    definition: str = ""
    interval: Literal["wilson", "clopper_pearson"] = "wilson"
    at: Mapping[int, str] = field(default_factory=dict[int, str])
    """Names of the chance that one of k draws is right, by k: given where every item has as many draws."""


def judged(
    correct: bool,
    answer: str | None,
    values: Mapping[str, float],
    explanation: str = "",
    parts: Mapping[str, tuple[float, ...]] | None = None,
) -> Score:
    """Build a score whose outcome follows from the headline's verdict and from whether there was an answer.

    For a graded headline ``correct`` means full marks.
    """
    missing = Outcome.NO_ANSWER if answer is None else Outcome.WRONG
    return Score(Outcome.CORRECT if correct else missing, values, answer, explanation, parts or {})


def at_budget_end(score: Score) -> Score:
    """Return the score of an output that was cut by its token budget: not right becomes ``truncated``."""
    if score.outcome in (Outcome.WRONG, Outcome.NO_ANSWER):
        return replace(score, outcome=Outcome.TRUNCATED)
    return score
