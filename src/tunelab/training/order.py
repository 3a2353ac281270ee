"""The order in which GRPO visits its prompts: a function of the seed alone, so a resumed run visits the same ones.

Each epoch is a shuffle without a torn last batch. Balanced, prompts of several kinds take turns as their numbers are to
each other: the k-th of n prompts of a kind stands at (k + 1/2) / n of the epoch. So every batch has nearly the shares
of the whole epoch, where a shuffle's batches have them on average only.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

Kinds = Mapping[str, Sequence[str]]
"""By a prompt's id, the kind that it is of, from the widest: domain, then task."""


def visits(ids: Sequence[str], batch: int, steps: int, seed: int, kinds: Kinds | None = None) -> list[str]:
    """Return the prompts of all steps in order, ``batch`` a step; balanced where ``kinds`` are given."""
    order: list[str] = []
    epoch = 0
    while len(order) < batch * steps:
        shuffled = list(ids)
        random.Random(f"{seed}|{epoch}").shuffle(shuffled)
        if kinds:
            shuffled = balanced(shuffled, kinds)
        order += shuffled[: len(ids) // batch * batch]
        epoch += 1
    return order[: batch * steps]


def balanced(ids: Sequence[str], kinds: Kinds, depth: int = 0) -> list[str]:
    """Return ids of several kinds in turns: first those of the widest kind, and within each the next narrower ones."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for id_ in ids:
        path = kinds[id_]
        found[path[depth] if depth < len(path) else ""].append(id_)
    if len(found) == 1 and "" in found:
        return list(ids)
    placed = [
        ((k + 0.5) / len(members), kind, id_)
        for kind, members in found.items()
        for k, id_ in enumerate(balanced(members, kinds, depth + 1))
    ]
    return [id_ for _, _, id_ in sorted(placed, key=lambda place: place[:2])]
