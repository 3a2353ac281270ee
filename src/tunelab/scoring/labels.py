"""Which label an output names, and what naming it is worth.

An output that begins with a label has given its answer, whatever follows; otherwise the last label named is the
answer, as in "not negative but positive". Labels count as whole words, upper or lower case. An output that names
none is ``no_answer``: wrong in an accuracy, and counted apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tunelab.scoring.score import Metric, Score, judged

ACCURACY = Metric("accuracy")
LEADING = " \t\r\n*_\"'`([#>-"
"""Marks and white space that may stand before an answer."""


def read_label(output: str, labels: Sequence[str]) -> str | None:
    """Return the label that an output names, as it is written in ``labels``; None when it names none."""
    words = "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w-])(?:{words})(?![\w-])", re.IGNORECASE)
    text = output.lstrip(LEADING)
    found = pattern.match(text) or next(reversed(list(pattern.finditer(text))), None)
    return None if found is None else next(label for label in labels if label.casefold() == found[0].casefold())


def judged_label(output: str, labels: Sequence[str], targets: Sequence[str]) -> Score:
    """Score an output by the label that it names: accuracy."""
    answer = read_label(output, labels)
    correct = answer is not None and answer in targets
    return judged(correct, answer, {ACCURACY.name: float(correct)}, f"gold {', '.join(targets) or 'none'}")


def class_counts(answer: str | None, targets: Sequence[str], positive: str) -> tuple[float, float, float]:
    """Return an output's true positives, false positives and false negatives: an output without an answer misses."""
    gold, said = positive in targets, answer == positive
    return float(gold and said), float(said and not gold), float(gold and not said)


def f1(parts: npt.NDArray[np.float64] | Sequence[float]) -> float:
    """Return F1 = 2 tp / (2 tp + fp + fn) from the summed counts (tp, fp, fn); 0 when all are 0, as scikit-learn."""
    tp, fp, fn = (float(part) for part in parts)
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0
