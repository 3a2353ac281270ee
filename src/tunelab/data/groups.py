"""Rows that stay together when a split is parted: what they have in common, and what a group is.

Two relations join rows, each through any number of others: the same value of some metadata, like the cluster of a
question's translations, and the same words, by the measure of ``tunelab.data.leaks``: a question that is asked twice.
A group counts toward every stratum that a row of it belongs to. Its name is its first id, so groups depend on rows
and never on their order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tunelab.data.leaks import said
from tunelab.data.sample import Sample
from tunelab.errors import DataError, nearest

CLUSTER = "cluster"
"""Metadata that few tasks have: rows without it are joined by their words alone. Any other name must be there."""
ALL = "all"
"""The only stratum of rows that are not stratified."""
QuestionOf = Callable[[Sample], str]
"""What a row asks, as one text."""


@dataclass(frozen=True)
class Group:
    """Rows that stay together."""

    ids: tuple[str, ...]
    strata: tuple[tuple[str, int], ...]
    """How many of its rows each stratum has."""

    @property
    def name(self) -> str:
        """The first of its ids."""
        return self.ids[0]


def grouped(samples: Iterable[Sample], stratify: str | None, group: str | None, asked: QuestionOf) -> list[Group]:
    """Return the groups of samples; without ``group`` every row is one. Raises DataError for unknown metadata."""
    listed = list(samples)
    _require(listed, stratify, "stratify", all)
    if group != CLUSTER:
        _require(listed, group, "group", any)
    return [
        _group(rows, stratify) for rows in ([[s] for s in listed] if group is None else _joined(listed, group, asked))
    ]


def stratum_of(sample: Sample, stratify: str | None) -> str:
    """Return the stratum of a row."""
    return ALL if stratify is None else str(sample.metadata[stratify])


def _group(rows: Sequence[Sample], stratify: str | None) -> Group:
    strata = Counter(stratum_of(row, stratify) for row in rows)
    return Group(tuple(sorted(row.id for row in rows)), tuple(sorted(strata.items())))


def _joined(samples: Sequence[Sample], group: str, asked: QuestionOf) -> list[list[Sample]]:
    """Join samples that share a value of ``group`` or their words, by a forest of disjoint sets."""
    parent, first = list(range(len(samples))), dict[Hashable, int]()

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for i, sample in enumerate(samples):
        value = sample.metadata.get(group)
        keys: list[Hashable] = [("words", said(asked(sample))), *([] if value is None else [("value", str(value))])]
        for key in keys:
            parent[root(i)] = root(first.setdefault(key, i))
    found: defaultdict[int, list[Sample]] = defaultdict(list)
    for i, sample in enumerate(samples):
        found[root(i)].append(sample)
    return list(found.values())


def _require(samples: Sequence[Sample], name: str | None, field: str, how: Any) -> None:
    """Raise DataError where rows lack metadata that are asked for."""
    if name is not None and not how(name in s.metadata for s in samples):
        known = sorted({key for s in samples for key in s.metadata})
        raise DataError(f"data.splits: {field}: got {name!r}, expected metadata of the rows{nearest(name, known)}")
