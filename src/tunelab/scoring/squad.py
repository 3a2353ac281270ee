"""Short answers as SQuAD 2.0 and HotpotQA score them: exact match and F1 over the bags of normalised tokens.

References: ``evaluate-v2.0.py`` of SQuAD (Rajpurkar et al. 2018) and ``hotpot_evaluate_v1.py`` (Yang et al. 2018).
The two normalise alike and differ in two cases: without any token SQuAD gives full marks when both sides are empty
and HotpotQA none; and HotpotQA gives yes, no and noanswer no partial credit. All values are fractions of 1.

A generative model abstains in words where SQuAD expects the empty string; ``abstains`` says which texts do.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

PUNCTUATION = str.maketrans("", "", string.punctuation)
ARTICLES = re.compile(r"\b(?:a|an|the)\b")
ABSTENTION = re.compile(
    r"(?:(?:this|question|it|is|answer) )*"
    r"(?:unanswerable|not answerable|no answer|noanswer|cannot be answered|not in passage)"
    r"(?: in passage| from passage| by passage)?"
    r"|no answer (?:is )?(?:given|found|possible)(?: in passage)?"
    r"|passage (?:does not|doesnt) (?:answer|say|mention|state|contain|provide)\b.*"
)
"""Of normalised texts, as a whole: words within a longer answer are no abstention."""
CLOSED = ("yes", "no", "noanswer")


def normalised(text: str) -> str:
    """Lower the case, drop ASCII punctuation, drop a/an/the, collapse white space: in this order."""
    bare = text.lower().translate(PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", bare).split())


def abstains(text: str) -> bool:
    """Say whether a text declines to answer, in words or by saying nothing at all."""
    plain = normalised(text)
    return not plain or ABSTENTION.fullmatch(plain) is not None


def exact(golds: Sequence[str], prediction: str) -> float:
    """Return 1 when the prediction equals any gold answer after normalisation, else 0."""
    return float(normalised(prediction) in {normalised(gold) for gold in _kept(golds)})


def f1(golds: Sequence[str], prediction: str) -> float:
    """Return the largest token F1 over the gold answers; without one, only a prediction without tokens is right."""
    return max(_bag_f1(normalised(gold).split(), normalised(prediction).split()) for gold in _kept(golds))


def hotpot_exact(gold: str, prediction: str) -> float:
    """Return 1 when the two are equal after normalisation, else 0."""
    return float(normalised(gold) == normalised(prediction))


def hotpot_f1(gold: str, prediction: str) -> float:
    """Return the token F1; 0 without a token on either side, and where either side is yes or no and they differ."""
    first, second = normalised(gold), normalised(prediction)
    if not first or (first != second and (first in CLOSED or second in CLOSED)):
        return 0.0
    return _bag_f1(first.split(), second.split())


def _kept(golds: Sequence[str]) -> Sequence[str]:
    """Gold answers with a token in them; when there are none, the right answer is the empty one."""
    return [gold for gold in golds if normalised(gold)] or [""]


def _bag_f1(gold: Sequence[str], prediction: Sequence[str]) -> float:
    if not gold or not prediction:
        return float(not gold and not prediction)
    common = (Counter(gold) & Counter(prediction)).total()
    return 2 * common / (len(gold) + len(prediction))
