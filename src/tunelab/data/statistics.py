"""Statistics of rows, gathered in one pass: nothing is kept of a row but counts, lengths and 8-byte hashes.

Equal texts are found by equal hashes of 64 bits: among a million different texts two share one by accident in fewer
than one data set of ten million.
"""

from __future__ import annotations

import hashlib
import json
import math
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

BINS = 40
LONGEST_SHOWN = 0.99
"""Share of the rows that a histogram covers; the longest ones would press the others into one bar."""
QUANTILES = {"median": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "list", type(None): "null"}


class Columns:
    """What the columns of rows hold. A column of objects is several, their names joined with dots."""

    def __init__(self) -> None:
        self.rows = 0
        self._types: dict[str, Counter[str]] = {}
        self._empty: Counter[str] = Counter()

    def add(self, row: Mapping[str, Any]) -> None:
        """Count the values of one row."""
        self.rows += 1
        for name, value in _leaves(row):
            self._types.setdefault(name, Counter())[_type(value)] += 1
            if isinstance(value, str | list | dict) and not (value.strip() if isinstance(value, str) else value):
                self._empty[name] += 1

    def table(self) -> list[dict[str, Any]]:
        """Return per column its types with counts, and how many values are null, empty (white space too) or absent."""
        return [
            {
                "column": name,
                "types": {kind: n for kind, n in types.most_common() if kind != "null"},
                "nulls": types["null"],
                "empty": self._empty[name],
                "absent": self.rows - types.total(),
            }
            for name, types in self._types.items()
        ]


def _leaves(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, dict) and value:
            yield from _leaves(cast(Mapping[str, Any], value), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _type(value: Any) -> str:
    """Name a value's type as JSON does; not-a-number is how readers of tables write a missing value."""
    if isinstance(value, float) and math.isnan(value):
        return "null"
    if isinstance(value, list) and value:
        return f"list of {' or '.join(sorted({_type(item) for item in cast(list[Any], value)}))}"
    return JSON_TYPES.get(type(value), "object" if isinstance(value, dict) else type(value).__name__)


def hash_text(text: str) -> int:
    """Return 64 bits of a text's BLAKE2b hash."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def hash_row(row: Mapping[str, Any]) -> int:
    """Return the hash of a whole row, whatever the order of its columns."""
    return hash_text(json.dumps(row, sort_keys=True, default=repr))


def repeats(hashes: Sequence[int]) -> int:
    """Return how many of the hashes occurred before."""
    return len(hashes) - len(set(hashes))


def answered_differently(questions: Sequence[int], answers: Sequence[int]) -> int:
    """Return how many different questions occur with more than one answer, both given as hashes by row."""
    return sum(n > 1 for n in Counter(question for question, _ in set(zip(questions, answers, strict=True))).values())


def describe(lengths: NDArray[np.int32], limits: Sequence[int]) -> dict[str, Any]:
    """Describe at least one length: quantiles, and for each limit the share of rows not above it.

    A quantile is the smallest length that at least that share of the rows do not exceed (inverse of the distribution
    function), so it is one of the lengths. ``percentiles`` are the 101 from 0 to 100 %.
    """
    quantiles: Any = np.quantile(lengths, [*QUANTILES.values(), *np.linspace(0, 1, 101)], method="inverted_cdf")
    return {
        "rows": len(lengths),
        "mean": float(lengths.mean()),
        "min": int(lengths.min()),
        **{name: int(value) for name, value in zip(QUANTILES, quantiles, strict=False)},
        "max": int(lengths.max()),
        "within": {str(limit): float((lengths <= limit).mean()) for limit in limits},
        "percentiles": [int(value) for value in quantiles[len(QUANTILES) :]],
    }


def histogram(lengths: NDArray[np.int32]) -> dict[str, Any]:
    """Count lengths in bins of one whole width from 0 on, up to the 99th percentile; ``above`` are the others.

    Bin i holds the lengths from ``i * width`` to ``(i + 1) * width - 1``.
    """
    longest = int(np.quantile(lengths, LONGEST_SHOWN, method="inverted_cdf"))
    width = longest // BINS + 1
    counts = np.bincount(lengths // width, minlength=BINS)
    return {"width": width, "counts": counts[:BINS].tolist(), "above": int(counts[BINS:].sum())}


class Coded:
    """A column of few values as whole numbers: each value's code is its place among the values."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self._codes = array("i")

    def add(self, value: str) -> None:
        """Append one row's value."""
        self._codes.append(self.values.setdefault(value, len(self.values)))

    def codes(self) -> NDArray[np.int32]:
        """Return the code of every row."""
        return np.array(self._codes, dtype=np.int32)
