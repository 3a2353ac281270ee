"""Splits of our own: one split of a data set parted by declared shares, stratified, whole groups at a time.

What decides is the ids, the seed and the shares, never the order of the rows. A stratum's groups are dealt to within
one of its share in every part, and the totals of the parts likewise: such a rounding of a table always exists (Cox
1987, "A constructive procedure for unbiased controlled rounding", JASA 82; ours rounds the larger remainder up and
draws nothing). Sums are exact, in fractions. Groups are rows that must not be parted, like the translations of one
question; where every row is its own group, one group is one row.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tunelab.data.rounding import rounded
from tunelab.data.sample import Sample
from tunelab.data.subsets import rank
from tunelab.errors import DataError, nearest

CLUSTER = "cluster"
"""Metadata that few tasks have: rows without it are groups of their own. Any other name must be there."""
ALL = "all"
"""The only stratum of rows that are not stratified."""


class Longest(BaseModel):
    """Which rows are too long to be used at all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: int = Field(gt=0, description="Tokens that a row's question, with its choices, may have.")
    tokenizer: str = Field(description="Model whose tokenizer counts: 'tiny', a local folder, or a hub id.")


class Splits(BaseModel):
    """How one split of a task becomes several."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)

    of: str = Field(alias="from", description="The split that is parted.")
    shares: dict[str, float] = Field(
        min_length=1, description="The parts' names and shares, 1 in all: {train: 0.8, validation: 0.1, test: 0.1}."
    )
    stratify: str | None = Field(default=None, description="Metadata whose every value is shared out alike.")
    seed: int = Field(default=0, description="Chooses the rows of each part.")
    group: str | None = Field(
        default=CLUSTER,
        description="Metadata whose rows stay together, such as the translations of a question; null parts them.",
    )
    longest: Longest | None = Field(default=None, description="Leaves out longer rows before anything is parted.")

    @field_validator("shares")
    @classmethod
    def _shares_are_of_one(cls, shares: dict[str, float]) -> dict[str, float]:
        if any(not share > 0 for share in shares.values()) or not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
            raise ValueError(f"got {shares}, expected numbers above 0 with the sum 1; leave a part out instead of 0")
        return shares


@dataclass(frozen=True)
class Group:
    """Rows that stay together. ``name`` orders groups by seed; ``stratum`` joins those of its rows."""

    name: str
    stratum: str
    ids: tuple[str, ...]


def assign(samples: Sequence[Sample], shares: Mapping[str, float], by: Mapping[str, Any]) -> dict[str, str]:
    """Return the part of every sample, by id. ``by`` has the keys ``stratify``, ``group`` and ``seed``.

    Raises DataError for metadata that are not there, and for fewer groups than parts.
    """
    weights = _weights(shares)
    strata: defaultdict[str, list[Group]] = defaultdict(list)
    groups = grouped(samples, by["stratify"], by["group"])
    if len(groups) < len(weights):
        raise DataError(f"data.splits: got {len(groups)} groups of rows, expected one a part: {', '.join(shares)}")
    for group in sorted(groups, key=lambda g: (rank(g.name, by["seed"]), g.ids)):
        strata[group.stratum].append(group)
    table = {name: {part: len(strata[name]) * w for part, w in weights.items()} for name in sorted(strata)}
    counts = _none_empty(rounded(table))
    return {i: part for name in table for group, part in _dealt(strata[name], counts[name]) for i in group.ids}


def grouped(samples: Iterable[Sample], stratify: str | None, group: str | None) -> list[Group]:
    """Return the groups of samples; one whose rows differ in stratum belongs to the stratum of all of these."""
    found: defaultdict[tuple[str, str], list[Sample]] = defaultdict(list)
    listed = list(samples)
    _require(listed, stratify, "stratify", all)
    if group != CLUSTER:
        _require(listed, group, "group", any)
    for sample in listed:
        shared = sample.metadata.get(group) if group else None
        found[("one", sample.id) if shared is None else ("many", str(shared))].append(sample)
    return [
        Group(name, " + ".join(sorted({stratum_of(s, stratify) for s in rows})), tuple(sorted(s.id for s in rows)))
        for (_, name), rows in found.items()
    ]


def stratum_of(sample: Sample, stratify: str | None) -> str:
    """Return the stratum of a row on its own."""
    return ALL if stratify is None else str(sample.metadata[stratify])


def describe(
    available: Sequence[Sample], parts: Mapping[str, str], by: Mapping[str, Any], shares: Mapping[str, float]
) -> dict[str, Any]:
    """Return the receipt of a split, as plain JSON: rows by part and stratum, and strata that have too few groups.

    ``available`` are all rows, and those that ``parts`` does not have were too long.
    """
    stratify = by["stratify"]
    kept = [s for s in available if s.id in parts]
    groups = grouped(kept, stratify, by["group"])
    sizes = Counter(group.stratum for group in groups)
    strata = {name: _counted(rows, parts, shares) for name, rows in sorted(_by_stratum(available, stratify).items())}
    return {
        "available": len(available),
        "too_long": len(available) - len(kept),
        "groups": len(groups),
        "rows": {part: sum(found == part for found in parts.values()) for part in shares},
        "strata": strata,
        "rare": sorted(name for name, size in sizes.items() if size < len(shares)),
        "absent": {part: [name for name, found in strata.items() if not found[part]] for part in shares},
    }


def _by_stratum(samples: Iterable[Sample], stratify: str | None) -> dict[str, list[Sample]]:
    found: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[stratum_of(sample, stratify)].append(sample)
    return found


def _counted(rows: Sequence[Sample], parts: Mapping[str, str], shares: Iterable[str]) -> dict[str, int]:
    counts = Counter(parts.get(s.id) for s in rows)
    return {"available": len(rows), "too_long": counts[None], **{part: counts[part] for part in shares}}


def _require(samples: Sequence[Sample], name: str | None, field: str, how: Any) -> None:
    """Raise DataError where rows lack metadata that are asked for."""
    if name is not None and not how(name in s.metadata for s in samples):
        known = sorted({key for s in samples for key in s.metadata})
        raise DataError(f"data.splits: {field}: got {name!r}, expected metadata of the rows{nearest(name, known)}")


def _weights(shares: Mapping[str, float]) -> dict[str, Fraction]:
    """Return shares as fractions of exactly 1, in an order of their own."""
    written = {part: Fraction(str(shares[part])) for part in sorted(shares)}
    return {part: share / sum(written.values()) for part, share in written.items()}


def _dealt(groups: Sequence[Group], counts: Mapping[str, int]) -> Iterable[tuple[Group, str]]:
    """Deal a stratum's groups, in the order of the seed, so that large and small ones are shared out alike."""
    sizes: defaultdict[int, list[Group]] = defaultdict(list)
    for group in groups:
        sizes[len(group.ids)].append(group)
    table = {n: {p: Fraction(len(sizes[n]) * c, len(groups)) for p, c in counts.items()} for n in sorted(sizes)}
    for size, by_part in rounded(table).items():
        names = [part for part, count in by_part.items() for _ in range(count)]
        yield from zip(sizes[size], names, strict=True)


def _none_empty(counts: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Give a part whose share is no group one of the part that has most: so few rows still make every part."""
    totals = Counter[str]()
    for row in counts.values():
        totals.update(row)
    for part in [name for name, total in totals.items() if not total]:
        giver = max(totals, key=lambda name: totals[name])
        row = max(counts.values(), key=lambda row: row[giver])
        for name, change in ((giver, -1), (part, 1)):
            row[name] += change
            totals[name] += change
    return counts
