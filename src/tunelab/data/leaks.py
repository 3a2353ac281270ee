"""Leaks: evaluation rows that training has seen, word for word, in another language, or in a long overlap.

Three checks on the questions' words, lower-cased and without punctuation: equality, of the signs of arithmetic and code
too, nearness (``tunelab.data.near``), and a shared run of ``NGRAM`` = 13 words (the length of Brown et al. 2020,
appendix C). Words cannot show that a question is the translation of another; that both are of one cluster does. A
repeat is a leak, and so is a shared cluster. Nearness and a shared run are suspicions: template-like questions come
near each other honestly, so they are listed and do not stop a study by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from tunelab.data.near import near_pairs

NGRAM = 13
WORD = re.compile(r"\w+")
SPOKEN = re.compile(r"\w+|[-−](?=\s?\d)|[+*/^=<>%|&~±×÷√≤≥≠≈∈∉⊂⊆∪∩∧∨¬∀∃→⇒⇔∞∂∫∑∏]")
"""Words, and signs that make another question of the same words: 3 + 4 and 3 - 4. A hyphen counts before a number."""
EXACT, CLUSTER, NEAR, RUN = "exact", "cluster", "near", f"{NGRAM}-gram"
KINDS = (EXACT, CLUSTER, NEAR, RUN)
CERTAIN = (EXACT, CLUSTER)
"""Kinds that are leaks; the others are suspicions."""
Words = tuple[str, ...]


class Asked(NamedTuple):
    """What a row asks, by which leaks are found."""

    id: str
    text: str
    cluster: str | None = None
    """The same for all rows that are one item: a question in several languages."""


@dataclass(frozen=True)
class Leak:
    """An evaluation row and the training row that gives it away."""

    evaluation_id: str
    train_id: str
    kind: str
    """``exact``, ``cluster``, ``near`` or ``13-gram``."""
    text: str
    """The shared words, those of a near-duplicate in training, cut to 200 characters, or the cluster."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


def said(text: str) -> Words:
    """Return a text's words and signs, lower-cased: equal ones make two questions the same.

    A text without any is known by all that it has.
    """
    return tuple(SPOKEN.findall(text.lower())) or (text.strip(),)


def find_leaks(train: Sequence[Asked], evaluation: Sequence[Asked]) -> list[Leak]:
    """Compare what rows ask; return at most one leak per evaluation row, of the first kind that fits, by kind."""
    wanted = {gram for asked in evaluation for gram in _ngrams(asked.text)}
    seen: dict[tuple[str, Words | str], str] = {}
    for asked in train:
        seen.setdefault((EXACT, said(asked.text)), asked.id)
        if asked.cluster is not None:
            seen.setdefault((CLUSTER, asked.cluster), asked.id)
        for gram in _ngrams(asked.text):
            if gram in wanted:
                seen.setdefault((RUN, gram), asked.id)
    nearest = _nearest(train, evaluation)
    found = [leak for asked in evaluation if (leak := _leak(asked, seen, nearest))]
    return sorted(found, key=lambda leak: KINDS.index(leak.kind))


def leaking(train: Sequence[Asked], evaluation: Sequence[Asked]) -> set[str]:
    """Return the ids of all training rows that give any evaluation row away, or are suspected to."""
    certain, runs = repeats(train, evaluation), {gram for asked in evaluation for gram in _ngrams(asked.text)}
    near = {train[i].id for i, _, _ in near_pairs(_said(train), _said(evaluation))}
    return certain | near | {asked.id for asked in train if any(gram in runs for gram in _ngrams(asked.text))}


def repeats(rows: Sequence[Asked], seen: Sequence[Asked]) -> set[str]:
    """Return the ids of the rows whose words or cluster are those of one that was seen."""
    known = {said(asked.text) for asked in seen}
    clusters = {asked.cluster for asked in seen} - {None}
    return {asked.id for asked in rows if asked.cluster in clusters or said(asked.text) in known}


def _nearest(train: Sequence[Asked], evaluation: Sequence[Asked]) -> dict[str, Asked]:
    """Return the nearest training row of every evaluation row that has a near one."""
    best: dict[str, tuple[float, Asked]] = {}
    for i, j, share in near_pairs(_said(train), _said(evaluation)):
        if share > best.get(evaluation[j].id, (0.0,))[0]:
            best[evaluation[j].id] = share, train[i]
    return {id_: row for id_, (_, row) in best.items()}


def _said(rows: Sequence[Asked]) -> list[Words]:
    return [said(asked.text) for asked in rows]


def _leak(asked: Asked, seen: Mapping[tuple[str, Words | str], str], nearest: Mapping[str, Asked]) -> Leak | None:
    row = said(asked.text)
    if (EXACT, row) in seen:
        return Leak(asked.id, seen[EXACT, row], EXACT, " ".join(row)[:200])
    if asked.cluster is not None and (CLUSTER, asked.cluster) in seen:
        return Leak(asked.id, seen[CLUSTER, asked.cluster], CLUSTER, asked.cluster)
    if near := nearest.get(asked.id):
        return Leak(asked.id, near.id, NEAR, " ".join(said(near.text))[:200])
    for gram in _ngrams(asked.text):
        if (RUN, gram) in seen:
            return Leak(asked.id, seen[RUN, gram], RUN, " ".join(gram)[:200])
    return None


def _ngrams(text: str) -> Iterator[Words]:
    words = WORD.findall(text.lower())
    for start in range(len(words) - NGRAM + 1):
        yield tuple(words[start : start + NGRAM])
