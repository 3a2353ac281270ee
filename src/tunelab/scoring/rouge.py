"""ROUGE of a summary (Lin 2004) by the rouge-score library: F-measure, Porter stemmer.

ROUGE-L and ROUGE-Lsum are different numbers: Lsum takes the longest common subsequence sentence by sentence and is
what papers on CNN/DailyMail print as R-L. It therefore depends on what a sentence is: ``sentences`` says so here.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

TYPES: tuple[str, ...] = ("rouge1", "rouge2", "rougeL", "rougeLsum")
SPLITTER = "sentences end at line breaks, and at . ! ? before white space and a capital, digit or opening quote"
SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[^\W_a-z])")


def rouge(prediction: str, reference: str) -> dict[str, float]:
    """Return ROUGE-1, -2, -L and -Lsum by the library's names, as fractions of 1."""
    found = _scorer().score("\n".join(sentences(reference)), "\n".join(sentences(prediction)))
    return {name: float(found[name].fmeasure) for name in TYPES}


def sentences(text: str) -> list[str]:
    """Split a text as ``SPLITTER`` says; blank lines are dropped."""
    parts = (part for line in text.splitlines() for part in SENTENCE_END.split(line))
    return [part.strip() for part in parts if part.strip()]


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(TYPES, use_stemmer=True)
