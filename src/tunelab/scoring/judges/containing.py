"""The judge that needs no model: an accepted answer occurs in the output, as whole words.

A weak baseline: an output that names every candidate passes, and a right answer in other words does not. Texts are
compared as SQuAD compares them, without case, punctuation and articles. What was only thought is no answer.
"""

from __future__ import annotations

from tunelab.scoring.judges.exchange import Exchange
from tunelab.scoring.judges.judge import Verdict
from tunelab.scoring.judges.parsing import CLOSE, OPEN
from tunelab.scoring.squad import normalised

VERSION = 1
"""Raise it when other outputs than before pass."""


def judge_by_containing(exchange: Exchange) -> Verdict:
    """Return 1 where an accepted answer occurs, 0 where none does, and no verdict where none is known."""
    wanted = [text for text in map(normalised, exchange.references) if text]
    if not wanted:
        return Verdict(None, (), "no accepted answer")
    answer = exchange.answered.rpartition(CLOSE)[2].partition(OPEN)[0]
    said = f" {normalised(answer)} "
    return Verdict(float(any(f" {text} " in said for text in wanted)))
