"""Three BLEU scores that are never mixed: CodeXGLUE's for corpora, CodeXGLUE's for sentences, and sacrebleu's.

- ``corpus``: tokens by white space, one added to matches and to possible n-grams at every order, counts summed over
  the corpus (CodeXGLUE's ``bleu.py`` for text-to-code, translation and refinement).
- ``sentence``: tokens of letters and digits or single marks, lower-cased, one added above the first order
  (CodeXGLUE's code-to-text; Lin & Och 2004); the corpus has the mean.
- ``sacrebleu_corpus``: sacrebleu's default (Post 2018), with the signature that names every choice.

Corpus scores are functions of summed parts, shape (10,): matches and possible n-grams of orders 1 to 4, and the
lengths of candidate and reference in tokens. All values are fractions of 1; papers print them times 100.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from tunelab.stats.arrays import FloatArray

ORDERS = 4
MARKS_APART = re.compile(r"[^\W_]+|[^\s\w]|_")
SIGNATURE = f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{version('sacrebleu')}"
"""What sacrebleu itself says of the score that ``sacrebleu_corpus`` computes."""

Parts = tuple[float, ...]


def corpus_parts(candidate: str, reference: str) -> Parts:
    """Return what one candidate adds to ``corpus``."""
    return _counts(candidate.split(), reference.split())


def corpus(parts: FloatArray) -> float:
    """Return CodeXGLUE's corpus BLEU-4 of summed parts; 0 when no candidate has a token."""
    matches, possible, (length, reference) = parts[:ORDERS], parts[ORDERS : 2 * ORDERS], parts[2 * ORDERS :]
    if length == 0:
        return 0.0
    logs = [math.log((m + 1) / (p + 1)) for m, p in zip(matches, possible, strict=True)]
    return math.exp(sum(logs) / ORDERS + min(0.0, 1 - reference / length))


def sentence(candidate: str, reference: str) -> float:
    """Return CodeXGLUE's smoothed sentence BLEU-4; 0 when no token of the candidate is right.

    The lengths in the brevity penalty have one added, as in the reference. With it an empty candidate scores
    exp(-r) against r tokens, not 0.
    """
    parts = _counts(*(MARKS_APART.findall(text.lower()) for text in (candidate, reference)))
    matches, possible, (length, reference_length) = parts[:ORDERS], parts[ORDERS : 2 * ORDERS], parts[2 * ORDERS :]
    if length and not matches[0]:
        return 0.0
    logs = [math.log((m + 1) / (p + 1)) for m, p in zip(matches[1:], possible[1:], strict=True)]
    if length:
        logs.append(math.log(matches[0] / possible[0]))
    return math.exp(sum(logs) / ORDERS + min(0.0, 1 - (reference_length + 1) / (length + 1)))


def sacrebleu_parts(candidate: str, reference: str) -> Parts:
    """Return what one candidate adds to ``sacrebleu_corpus``."""
    found = _sacrebleu().sentence_score(candidate, [reference])
    return tuple(map(float, (*found.counts, *found.totals, found.sys_len, found.ref_len)))


def sacrebleu_corpus(parts: FloatArray) -> float:
    """Return sacrebleu's default BLEU of summed parts; lengths, which averaged draws can break, are rounded."""
    matches, possible, lengths = list(parts[:ORDERS]), list(parts[ORDERS : 2 * ORDERS]), parts[2 * ORDERS :]
    found = _sacrebleu().compute_bleu(matches, possible, *(round(n) for n in lengths), smooth_method="exp")
    return found.score / 100


def _counts(candidate: Sequence[str], reference: Sequence[str]) -> Parts:
    matches = [(_ngrams(candidate, n) & _ngrams(reference, n)).total() for n in range(1, ORDERS + 1)]
    possible = [max(0, len(candidate) - n + 1) for n in range(1, ORDERS + 1)]
    return tuple(map(float, (*matches, *possible, len(candidate), len(reference))))


def _ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


@cache
def _sacrebleu() -> Any:
    from sacrebleu.metrics.bleu import BLEU

    # Effective order changes no count; without it every single sentence is warned about.
    return BLEU(effective_order=True)
