"""Leaks: evaluation rows that training has seen, word for word or in a long overlap.

Two checks on the questions' words, lower-cased and without punctuation: exact equality, and a shared run of
``NGRAM`` = 13 words (the length of Brown et al. 2020, appendix C). An exact repeat is a leak. A shared run is a
suspicion: template-like questions share them honestly, so it is listed and does not stop a study by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

NGRAM = 13
WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Leak:
    """An evaluation row and the training row that gives it away."""

    evaluation_id: str
    train_id: str
    kind: str
    """``exact`` or ``13-gram``."""
    text: str
    """The shared words, cut to 200 characters."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


def find_leaks(train: Sequence[tuple[str, str]], evaluation: Sequence[tuple[str, str]]) -> list[Leak]:
    """Compare (id, question text) pairs; return at most one leak per evaluation row, exact ones first."""
    words = [(row_id, tuple(_words(text))) for row_id, text in evaluation]
    wanted = {gram for _, row in words for gram in _ngrams(row)}
    exact: dict[tuple[str, ...], str] = {}
    seen: dict[tuple[str, ...], str] = {}
    for row_id, text in train:
        row = tuple(_words(text))
        exact.setdefault(row, row_id)
        for gram in _ngrams(row):
            if gram in wanted:
                seen.setdefault(gram, row_id)
    found = [leak for row_id, row in words if (leak := _leak(row_id, row, exact, seen))]
    return sorted(found, key=lambda leak: leak.kind != "exact")


def repeats(rows: Sequence[tuple[str, str]], seen: Sequence[tuple[str, str]]) -> set[str]:
    """Return the ids of the (id, question text) pairs whose words are those of one that was seen."""
    known = {tuple(_words(text)) for _, text in seen}
    return {row_id for row_id, text in rows if tuple(_words(text)) in known}


def _leak(
    row_id: str, row: tuple[str, ...], exact: dict[tuple[str, ...], str], seen: dict[tuple[str, ...], str]
) -> Leak | None:
    if row in exact:
        return Leak(row_id, exact[row], "exact", " ".join(row)[:200])
    for gram in _ngrams(row):
        if gram in seen:
            return Leak(row_id, seen[gram], f"{NGRAM}-gram", " ".join(gram)[:200])
    return None


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def _ngrams(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for start in range(len(words) - NGRAM + 1):
        yield tuple(words[start : start + NGRAM])
