"""What a cell's items say in groups: subjects before and after training, one question in two languages, letters.

A task names what its items are grouped by. Every statement is about one cell's one grouping, and all groups of it are
one family: p-values are Benjamini and Hochberg's, since of many subjects the share of false findings among the
findings is what matters. Two groups are put side by side only where they hold the same questions, which their
clusters tell: half of the smaller group's or more. Then a question is one pair, whatever the number of its items.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from tunelab.scoring.aggregate import cluster_codes
from tunelab.stats import Estimate, Paired, benjamini_hochberg, paired_difference, shrunken_means, verdict
from tunelab.study.scored import Scored, align, headline_difference, size_of

Row = dict[str, Any]


def groups_with_shrunken(cell: Scored) -> dict[str, Any]:
    """Return ``groups`` as the summary has them, each scored group with its ``shrunken`` headline where there is one.

    Empty for a cell without groups. A corpus metric is no mean over items, so there is nothing to shrink.
    """
    if "groups" not in cell.summary:
        return {}
    shrunken = {} if cell.metric.total else {by: _shrunken(cell, of) for by, of in cell.groups.items()}
    return {
        "groups": {
            by: {
                group: {**found, **({"shrunken": shrunken[by][group]} if group in shrunken.get(by, {}) else {})}
                for group, found in groups.items()
            }
            for by, groups in cell.summary["groups"].items()
        }
    }


def _shrunken(cell: Scored, of: Mapping[str, str]) -> dict[str, float]:
    values = cell.values()
    if not values:
        return {}
    labels = [of[item] for item in values]
    means = shrunken_means(list(values.values()), labels, cluster_codes(list(values), cell.clusters))
    return {} if means is None else dict(zip(sorted(set(labels)), means.tolist(), strict=True))


def changes_by_group(one: Scored, baseline: Scored, alpha: float) -> list[Row]:
    """Return per group the cell minus its baseline on the same items; both were asked and scored alike.

    A group that one side has no score in has no row, and a grouping with one group says what the whole says.
    """
    rows: list[Row] = []
    for by, of in one.groups.items():
        head = {"cell": one.cell["cell"], "baseline": baseline.cell["cell"], "task": one.cell["task"], "by": by}
        values = sorted(set(of.values())) if by in baseline.groups else []
        pairs = {value: align([one.within(by, value), baseline.within(by, value)]) for value in values}
        found = {value: headline_difference(pair) for value, pair in pairs.items() if pair.items}
        if len(found) > 1:
            rows += _judged([{**head, "group": v, **_in_numbers(d)} for v, d in found.items()], alpha)
    return rows


def groups_side_by_side(cell: Scored, alpha: float) -> list[Row]:
    """Return for each two groups that hold the same questions the first minus the second; ``n`` counts questions.

    Empty where no question is in two groups, and for a corpus metric.
    """
    rows: list[Row] = []
    for by in cell.groups if cell.metric.total is None else ():
        means = _question_means(cell, by)
        head = {"cell": cell.cell["cell"], "task": cell.cell["task"], "by": by}
        for group, other in combinations(sorted(means), 2):
            shared = sorted(means[group].keys() & means[other].keys())
            if shared and 2 * len(shared) >= min(len(means[group]), len(means[other])):
                first, second = ([means[side][name] for name in shared] for side in (group, other))
                found = paired_difference(first, second)
                rows.append({**head, "group": group, "other": other, **_in_numbers(found)})
    return [row for by in cell.groups for row in _judged([row for row in rows if row["by"] == by], alpha)]


def _question_means(cell: Scored, by: str) -> dict[str, dict[str, float]]:
    """Map each group to its questions' mean values; only what has a cluster can be in several groups."""
    found: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for item, value in cell.values().items():
        if item in cell.clusters:
            found[cell.groups[by][item]][cell.clusters[item]].append(value)
    return {group: {name: float(np.mean(v)) for name, v in names.items()} for group, names in found.items()}


def _in_numbers(found: Paired | Estimate) -> Row:
    return {"difference": size_of(found), **{k: getattr(found, k) for k in ("low", "high", "p_value", "test", "n")}}


def _judged(rows: Sequence[Row], alpha: float) -> list[Row]:
    """Add Benjamini and Hochberg's p-values over all rows, and what they decide."""
    adjusted = benjamini_hochberg([row["p_value"] for row in rows])
    return [
        {**row, "p_adjusted": float(p), "verdict": verdict(row["difference"], float(p), alpha).value}
        for row, p in zip(rows, adjusted, strict=True)
    ]


def confusion(cell: Scored) -> Row:
    """Return how often each choice was taken where each was right: ``counts`` has shape (gold, answered).

    ``no_answer`` counts, per right choice, the outputs that take none. Outputs that could not be scored are left out.
    """
    found = Counter((answer.gold, answer.taken) for answer in cell.answers)
    gold = sorted({answer.gold for answer in cell.answers})
    answered = sorted({*gold, *(answer.taken for answer in cell.answers if answer.taken is not None)})
    return {
        "cell": cell.cell["cell"],
        "task": cell.cell["task"],
        "gold": gold,
        "answered": answered,
        "counts": [[found[right, taken] for taken in answered] for right in gold],
        "no_answer": [found[right, None] for right in gold],
    }
