"""Seeded subsets: which rows are used, decided by a hash of each sample's id.

Never "the first N": data sets are ordered by source or difficulty. The choice depends on ids and seed alone, and a
larger subset of the same seed contains the smaller one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence

from tunelab.data.sample import Sample
from tunelab.errors import DataError

ROUNDING = 1e-9
"""What a share of rows may lack of a whole number for binary fractions alone: 0.07 of 100 is 7."""


def rank(sample_id: str, seed: int) -> str:
    """Return the key by which a seed orders samples."""
    return hashlib.sha256(f"{seed}:{sample_id}".encode()).hexdigest()


def subset(samples: Sequence[Sample], size: int | float | None, seed: int) -> list[Sample]:
    """Return a seeded subset in the original order.

    ``size`` is a number of rows (int), a share of them (float in (0, 1], rounded down), or None for all. More rows
    than there are is DataError: a smaller test than the study declares must not pass unnoticed.
    """
    chosen_rows = count(len(samples), size)
    chosen = {s.id for s in sorted(samples, key=lambda s: rank(s.id, seed))[:chosen_rows]}
    return [s for s in samples if s.id in chosen]


def few_shots(samples: Sequence[Sample], k: int, seed: int) -> list[Sample]:
    """Return the first ``k`` samples in the seed's order: few-shot examples, the same for every variant."""
    if k > len(samples):
        raise DataError(f"few-shot k: got {k}, expected at most {len(samples)}, the number of training rows")
    return sorted(samples, key=lambda s: rank(s.id, seed))[:k]


def without(samples: Sequence[Sample], ids: Collection[str]) -> list[Sample]:
    """Return the samples whose id is not among ``ids``."""
    return [s for s in samples if s.id not in ids]


def count(available: int, size: int | float | None) -> int:
    """Return how many of the available rows a size stands for. Raises DataError for none, or more than there are."""
    if size is None:
        return available
    rows = math.floor(size * available + ROUNDING) if isinstance(size, float) else size
    if not 0 < rows <= available:
        raise DataError(f"rows: got {size}, expected 1 to {available} rows or a share in (0, 1]")
    return rows
