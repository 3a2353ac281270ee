"""Rounding a table: every entry and every sum of a column to a whole number beside it, and sums of rows as they are.

Such a rounding always exists (Cox 1987, "A constructive procedure for unbiased controlled rounding", JASA 82, 520-524).
Where Cox draws at random which way to go, the larger remainder is rounded up, so a table is always rounded alike. Sums
are exact, in fractions.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, TypeVar

Key = TypeVar("Key", str, int)
Node = tuple[str, Any]
"""A row or a column with its name; ``slack`` is a row that makes the sums of columns whole."""


def rounded(table: Mapping[Key, Mapping[str, Fraction]]) -> dict[Key, dict[str, int]]:
    """Round every entry of a table, and every column's sum, to the whole number below or above.

    Rows must have whole sums, which stay. Entries that are no whole numbers are the edges between rows and columns;
    as long as there are any they form a circle, along which they are raised and lowered in turn.
    """
    columns = list(next(iter(table.values())))
    slack = {c: Fraction(math.ceil(total)) - total for c in columns if (total := sum(row[c] for row in table.values()))}
    exact: dict[Node, dict[str, Fraction]] = {("row", name): dict(row) for name, row in table.items()}
    exact[("slack", None)] = {c: slack.get(c, Fraction(0)) for c in columns}
    edges = _edges(exact)
    while edges:
        _shift(exact, _circle(edges), edges)
    return {name: {c: int(exact[("row", name)][c]) for c in columns} for name in table}


def _edges(exact: Mapping[Node, Mapping[str, Fraction]]) -> dict[Node, dict[Node, None]]:
    """Return rows and columns with what they meet in an entry that is no whole number, both ways, in order."""
    edges: defaultdict[Node, dict[Node, None]] = defaultdict(dict)
    for row, entries in exact.items():
        for column, value in entries.items():
            if value.denominator != 1:
                edges[row][("column", column)] = edges[("column", column)][row] = None
    return dict(edges)


def _circle(edges: Mapping[Node, Mapping[Node, None]]) -> list[tuple[Node, str]]:
    """Walk until a node comes again; sums are whole, so every node that is entered can be left."""
    path = [next(iter(edges))]
    while True:
        before = path[-2] if len(path) > 1 else None
        following = next(node for node in edges[path[-1]] if node != before)
        if following in path:
            break
        path.append(following)
    loop = [*path[path.index(following) :], following]
    return [(a, b[1]) if b[0] == "column" else (b, a[1]) for a, b in pairwise(loop)]


def _shift(
    exact: dict[Node, dict[str, Fraction]], circle: Sequence[tuple[Node, str]], edges: dict[Node, dict[Node, None]]
) -> None:
    """Raise every other entry of a circle and lower those between, until one is whole; the largest remainder rises.

    Where a circle touches the totals, the remainder of a total decides.
    """
    remainders = [exact[row][column] % 1 for row, column in circle]
    deciding = [i for i, (row, _) in enumerate(circle) if row[0] == "slack"] or range(len(circle))
    first = max(deciding, key=lambda i: (remainders[i], -i)) % 2
    step = min(1 - r if i % 2 == first else r for i, r in enumerate(remainders))
    for i, (row, column) in enumerate(circle):
        exact[row][column] += step if i % 2 == first else -step
        if exact[row][column].denominator == 1:
            for one, other in ((row, ("column", column)), (("column", column), row)):
                del edges[one][other]
                if not edges[one]:
                    del edges[one]
