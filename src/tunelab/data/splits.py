"""Splits of our own: one split of a data set parted by declared shares, stratified, whole groups at a time.

What decides is the ids, the seed and the shares, never the order of the rows. ``tunelab.data.groups`` says which rows
must not be parted, like the translations of one question, and ``tunelab.data.dealing`` how near strata and parts come
to their shares.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tunelab.data.dealing import deal
from tunelab.data.groups import CLUSTER, Group, QuestionOf, grouped, stratum_of
from tunelab.data.sample import Sample
from tunelab.data.subsets import rank
from tunelab.errors import DataError


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
        min_length=1,
        description="The parts' names and shares, 1 in all or in whole numbers: {train: 0.8, test: 0.2}, "
        "{train: 5, test: 1}.",
    )
    stratify: str | None = Field(default=None, description="Metadata whose every value is shared out alike.")
    seed: int = Field(default=0, description="Chooses the rows of each part.")
    group: str | None = Field(
        default=CLUSTER,
        description="Metadata whose rows stay together, like a question's translations, with repeats; null parts all.",
    )
    longest: Longest | None = Field(default=None, description="Leaves out longer rows before anything is parted.")

    @field_validator("shares")
    @classmethod
    def _shares_are_of_one(cls, shares: dict[str, float]) -> dict[str, float]:
        whole = all(share.is_integer() for share in shares.values())
        adds_up = whole or math.isclose(sum(shares.values()), 1, abs_tol=1e-6)
        if any(not share > 0 for share in shares.values()) or not adds_up:
            raise ValueError(
                f"got {shares}, expected numbers above 0 with the sum 1, or whole ones; leave a part out instead of 0"
            )
        return shares


def assign(
    samples: Sequence[Sample], shares: Mapping[str, float], by: Mapping[str, Any], asked: QuestionOf
) -> dict[str, str]:
    """Return the part of every sample, by id. ``by`` has the keys ``stratify``, ``group`` and ``seed``.

    Raises DataError for metadata that are not there, and for fewer groups than parts.
    """
    groups = grouped(samples, by["stratify"], by["group"], asked)
    if len(groups) < len(shares):
        raise DataError(f"data.splits: got {len(groups)} groups of rows, expected one a part: {', '.join(shares)}")
    groups.sort(key=lambda group: (rank(group.name, by["seed"]), group.name))
    return {i: part for part, held in deal(groups, _weights(shares)).items() for group in held for i in group.ids}


def describe(
    available: Sequence[Sample],
    parts: Mapping[str, str],
    by: Mapping[str, Any],
    shares: Mapping[str, float],
    asked: QuestionOf,
) -> dict[str, Any]:
    """Return the receipt of a split, as plain JSON: rows by part and stratum, and strata that have too few groups.

    ``available`` are all rows, and those that ``parts`` does not have were too long. ``questions`` are the groups, or
    where there are none those by clusters and words; the ones that stand in several parts are counted, here and with
    every row parted on its own.
    """
    stratify = by["stratify"]
    kept = [s for s in available if s.id in parts]
    groups = grouped(kept, stratify, by["group"], asked)
    sizes = Counter(stratum for group in groups for stratum, _ in group.strata)
    strata = {name: _counted(rows, parts, shares) for name, rows in sorted(_by_stratum(available, stratify).items())}
    questions = groups if by["group"] else grouped(kept, stratify, CLUSTER, asked)
    ungrouped = parts if by["group"] is None else assign(kept, shares, {**by, "group": None}, asked)
    return {
        "available": len(available),
        "too_long": len(available) - len(kept),
        "groups": len(groups),
        "questions": len(questions),
        "in_several_parts": {"here": _in_several(questions, parts), "ungrouped": _in_several(questions, ungrouped)},
        "rows": {part: sum(found == part for found in parts.values()) for part in shares},
        "strata": strata,
        "rare": sorted(name for name, size in sizes.items() if size < len(shares)),
        "absent": {part: [name for name, found in strata.items() if not found[part]] for part in shares},
    }


def _in_several(questions: Iterable[Group], parts: Mapping[str, str]) -> int:
    return sum(len({parts[i] for i in question.ids}) > 1 for question in questions)


def _by_stratum(samples: Iterable[Sample], stratify: str | None) -> dict[str, list[Sample]]:
    found: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[stratum_of(sample, stratify)].append(sample)
    return found


def _counted(rows: Sequence[Sample], parts: Mapping[str, str], shares: Iterable[str]) -> dict[str, int]:
    counts = Counter(parts.get(s.id) for s in rows)
    return {"available": len(rows), "too_long": counts[None], **{part: counts[part] for part in shares}}


def _weights(shares: Mapping[str, float]) -> dict[str, Fraction]:
    """Return shares as fractions of exactly 1, in an order of their own."""
    written = {part: Fraction(str(shares[part])) for part in sorted(shares)}
    return {part: share / sum(written.values()) for part, share in written.items()}
