"""Dealing groups of rows to parts so that every stratum, and all rows together, have their shares.

Groups of several strata are dealt first, each where its strata lack most. The others follow from the largest to the
smallest: a size's groups are shared out by controlled rounding, strata by parts, together with what the larger ones
left over or owing. Where every row is a group that alone brings each stratum and all rows to within one row. At last
groups are moved, or two of them swapped, as long as that brings rows nearer: fewer strata that are a largest group or
more off, then a smaller sum of the squared differences from the shares, all rows counting as one more stratum.

Sums are exact, in whole numbers. Groups of equal rows are alike here; their order says which of them is dealt where.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import permutations, product

from tunelab.data.groups import Group
from tunelab.data.rounding import rounded

Kind = tuple[tuple[str | None, int], ...]
"""How many rows of each stratum, and last of all rows together, whose name is None."""
NOTHING: Kind = ()
"""What is swapped for a group that is only moved."""
CANDIDATES = 24
"""Kinds of groups that are tried against each other in one stratum; more only where strata mix in many ways."""
Change = tuple[int, int]


def deal(groups: Sequence[Group], weights: Mapping[str, Fraction]) -> dict[str, list[Group]]:
    """Return the groups of every part. ``weights`` are above 0 and 1 in all; no part is empty if there are enough."""
    table = _Table(groups, weights)
    table.deal_mixed([group for group in groups if len(group.strata) > 1])
    alike: defaultdict[int, defaultdict[str, list[Group]]] = defaultdict(lambda: defaultdict(list))
    for group in groups:
        if len(group.strata) == 1:
            alike[len(group.ids)][group.strata[0][0]].append(group)
    for size in sorted(alike, reverse=True):
        table.deal_alike(size, {stratum: alike[size][stratum] for stratum in sorted(alike[size])})
    table.fill_empty()
    table.bring_nearer()
    return {part: [group for held in kinds.values() for group in held] for part, kinds in table.held.items()}


class _Table:
    """Which part has which groups, and how many rows each stratum of each part has above its share."""

    def __init__(self, groups: Sequence[Group], weights: Mapping[str, Fraction]) -> None:
        self.scale = math.lcm(*(weight.denominator for weight in weights.values()))
        self.units = {part: int(weight * self.scale) for part, weight in weights.items()}
        """The shares in whole numbers, ``scale`` in all."""
        self.kinds = sorted({_kind(group) for group in groups}, key=repr)
        strata = {stratum for kind in self.kinds for stratum, _ in kind}
        self.above = {stratum: dict.fromkeys(weights, 0) for stratum in sorted(strata, key=repr)}
        """Rows above the share of those that are dealt, times ``scale``."""
        self.limits = dict.fromkeys(self.above, 0)
        """The largest group of each stratum, times ``scale``."""
        for stratum, rows in (entry for kind in self.kinds for entry in kind):
            self.limits[stratum] = max(self.limits[stratum], rows * self.scale)
        self._of_stratum: defaultdict[str | None, list[Kind]] = defaultdict(list)
        for kind in self.kinds:
            for stratum, _ in kind:
                self._of_stratum[stratum].append(kind)
        self.held: dict[str, dict[Kind, list[Group]]] = {part: {kind: [] for kind in self.kinds} for part in weights}

    def give(self, group: Group, part: str) -> None:
        """Deal one group."""
        for stratum, rows in _kind(group):
            above = self.above[stratum]
            for name, units in self.units.items():
                above[name] -= units * rows
            above[part] += self.scale * rows
        self.held[part][_kind(group)].append(group)

    def deal_mixed(self, groups: Sequence[Group]) -> None:
        """Deal groups of several strata one by one, the largest first."""
        for group in sorted(groups, key=lambda group: -len(group.ids)):
            self.give(group, min(self.units, key=lambda part: (self._lack(group, part), -self.units[part])))

    def _lack(self, group: Group, part: str) -> int:
        """Return how far a part's rows of a group's strata are above their shares, the group counted among them."""
        return sum(rows * (self.above[stratum][part] - self.units[part] * rows) for stratum, rows in _kind(group))

    def deal_alike(self, size: int, strata: Mapping[str, Sequence[Group]]) -> None:
        """Deal groups of one size, each of one stratum."""
        counts = rounded({stratum: self._wanted(stratum, size, len(found)) for stratum, found in strata.items()})
        for stratum, found in strata.items():
            names = [part for part, count in counts[stratum].items() for _ in range(count)]
            for group, part in zip(found, names, strict=True):
                self.give(group, part)

    def _wanted(self, stratum: str, size: int, number: int) -> dict[str, Fraction]:
        """Return how many groups of a size each part lacks: not below 0, ``number`` in all, as near as that allows.

        The projection onto a simplex of Michelot 1986, "A finite algorithm for finding the projection of a point onto
        the canonical simplex of R^n", JOTA 50.
        """
        above = self.above[stratum]
        kept = {p: Fraction(number * units * size - above[p], self.scale * size) for p, units in self.units.items()}
        while True:
            surplus = (sum(kept.values(), Fraction(0)) - number) / len(kept)
            kept = {part: wanted - surplus for part, wanted in kept.items()}
            if min(kept.values()) >= 0:
                return {part: kept.get(part, Fraction(0)) for part in self.units}
            kept = {part: wanted for part, wanted in kept.items() if wanted > 0}

    def fill_empty(self) -> None:
        """Give every part without a group the one that is missed least: so few rows still make every part."""
        for part in self.units:
            if not self._number(part):
                givers = [(giver, kind) for giver in self.units if self._number(giver) > 1 for kind in self._of(giver)]
                if givers:
                    giver, kind = min(givers, key=lambda found: self._change(found[1], NOTHING, found[0], part))
                    self._swap(kind, NOTHING, giver, part)

    def bring_nearer(self) -> None:
        """Move and swap groups until nothing is gained by it."""
        while any([*map(self._within, self.above), *(self._across(*pair) for pair in permutations(self.units, 2))]):
            pass

    def _within(self, stratum: str | None) -> bool:
        """Swap groups that share a stratum; say whether any were."""
        if stratum is None:
            return False
        found = False
        for source, target in permutations(self.units, 2):
            kinds = self._nearest(stratum, source, target), [NOTHING, *self._nearest(stratum, target, source)]
            done = [self._try(kind, other, source, target) for kind, other in product(*kinds)]
            found = found or any(done)
        return found

    def _nearest(self, stratum: str, source: str, target: str) -> list[Kind]:
        kinds = [kind for kind in self._of_stratum[stratum] if self.held[source][kind]]
        return sorted(kinds, key=lambda kind: self._change(kind, NOTHING, source, target))[:CANDIDATES]

    def _across(self, source: str, target: str) -> bool:
        """Swap groups of any strata, the best of each size with the best of each other; say whether any were.

        Groups that share no stratum gain what each gains alone, but for all rows, where only their sizes count.
        """
        found = False
        given, taken = self._by_size(source, target), {0: [NOTHING], **self._by_size(target, source)}
        for size, other in product(given, taken):
            for kind, instead in zip(given[size], taken[other], strict=False):
                if not self._try(kind, instead, source, target):
                    break
                found = True
        return found

    def _by_size(self, source: str, target: str) -> dict[int, list[Kind]]:
        """Return a part's kinds of groups by size, each time those first whose strata gain most by moving one."""
        found: defaultdict[int, list[Kind]] = defaultdict(list)
        for kind in sorted(self._of(source), key=lambda kind: self._change(kind[:-1], NOTHING, source, target)):
            found[kind[-1][1]].append(kind)
        return found

    def _of(self, part: str) -> list[Kind]:
        return [kind for kind, groups in self.held[part].items() if groups]

    def _number(self, part: str) -> int:
        return sum(map(len, self.held[part].values()))

    def _try(self, kind: Kind, other: Kind, source: str, target: str) -> bool:
        """Swap two groups if that brings rows nearer and leaves no part empty; say whether it was done."""
        if not self.held[source][kind] or (other and not self.held[target][other]):
            return False
        if self._change(kind, other, source, target) >= (0, 0) or (not other and self._number(source) == 1):
            return False
        self._swap(kind, other, source, target)
        return True

    def _change(self, kind: Kind, other: Kind, source: str, target: str) -> Change:
        """Return what a swap adds to the rows beyond limits, and to half the sum of squares by ``scale``."""
        beyond = squares = 0
        for stratum, rows in _less(kind, other):
            one, two = self.above[stratum][source], self.above[stratum][target]
            moved, limit = rows * self.scale, self.limits[stratum]
            squares += rows * (moved - one + two)
            beyond += _beyond(one - moved, limit) + _beyond(two + moved, limit)
            beyond -= _beyond(one, limit) + _beyond(two, limit)
        return beyond, squares

    def _swap(self, kind: Kind, other: Kind, source: str, target: str) -> None:
        for stratum, rows in _less(kind, other):
            self.above[stratum][source] -= rows * self.scale
            self.above[stratum][target] += rows * self.scale
        taken = [self.held[target][other].pop()] if other else []
        self.held[target][kind].append(self.held[source][kind].pop())
        for group in taken:
            self.held[source][other].append(group)


def _kind(group: Group) -> Kind:
    return (*group.strata, (None, len(group.ids)))


def _less(kind: Kind, other: Kind) -> Kind:
    """Return the rows of one kind less those of another, by stratum."""
    if not other:
        return kind
    left = dict(kind)
    for stratum, rows in other:
        left[stratum] = left.get(stratum, 0) - rows
    return tuple((stratum, rows) for stratum, rows in left.items() if rows)


def _beyond(above: int, limit: int) -> int:
    return max(0, abs(above) - limit + 1)
