"""Near-duplicates: texts that say almost the same, like one problem with other numbers or under another name.

Two texts are near when of all different runs of ``RUN`` = 3 words that either has, both have at least the share
``NEAR`` = 0.5 (the Jaccard index, Broder 1997). All such pairs are found, and few others are looked at: with the runs
of every text in one order, the rarest first, two near texts share one of their first ones (prefix filtering, Chaudhuri
et al. 2006). Texts of fewer than three words are near to their equals only.

Runs are known by their 64-bit hashes, which are good for one process. The runs of ``others`` are kept, those of the
texts are not, so the fewer of the two belong there.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

RUN = 3
NEAR = 0.5
Words = tuple[str, ...]
Pair = tuple[int, int, float]
"""The places of two texts, each among its own, and the share of runs that they have in common."""


def near_pairs(texts: Sequence[Words], others: Sequence[Words]) -> Iterator[Pair]:
    """Yield every text with every other one that is near to it, equal ones too, in the order of the texts."""
    found = [_runs(words) for words in others]
    frequency = Counter(run for runs in found for run in runs)
    first: defaultdict[int, list[int]] = defaultdict(list)
    for j, runs in enumerate(found):
        for run in _rarest(runs, frequency):
            first[run].append(j)
    for i, words in enumerate(texts):
        runs = _runs(words)
        for j in sorted({j for run in _rarest(runs, frequency) for j in first.get(run, ())}):
            common = len(runs & found[j])
            share = common / (len(runs) + len(found[j]) - common)
            if share >= NEAR:
                yield i, j, share


def _runs(words: Words) -> frozenset[int]:
    return frozenset(hash(words[i : i + RUN]) for i in range(max(1, len(words) - RUN + 1)))


def _rarest(runs: frozenset[int], frequency: Counter[int]) -> list[int]:
    """Return so many runs of a text that one near to it has one of them among as many of its own.

    Sets of which the share ``NEAR`` is common have at least that share of each in common, so they cannot differ in all
    but the last ``ceil(NEAR * size) - 1`` runs of one order.
    """
    ordered = sorted(runs, key=lambda run: (frequency[run], run))
    return ordered[: len(ordered) - math.ceil(NEAR * len(ordered)) + 1]
