"""From scores to a summary: each metric with its interval, each outcome with its count.

Values are fractions of 1 unless the metric's reference uses another scale. ``n`` counts the items asked for and
``scored`` those that have a value; unscored items are left out of the value and bound it from both sides. A metric
may have values for some items only (answerable questions): its own ``n`` says how many.

Items that share a cluster (questions on one passage) are one source of evidence: then the standard error is the
clustered one, for right and wrong too, and the bootstrap draws whole clusters.

Items may be in groups (a hazard, a subject): each group is then summarised like the whole, over its own items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tunelab.errors import DataError
from tunelab.scoring.pass_at_k import pass_at_k
from tunelab.scoring.score import Metric, Outcome, Score, Total
from tunelab.stats import Interval, bounds_with_missing, clopper_pearson, corpus_interval, mean_t, wilson

Scores = Mapping[str, Sequence[Score]]
"""Scores by item, one a draw."""
Clusters = Mapping[str, str]
"""Item to what it shares with other items; an item that is not in it stands alone."""
Groups = Mapping[str, Mapping[str, str]]
"""By what items are grouped, to each item's group; ``NO_GROUP`` for items that have none."""
NO_GROUP = "none"


def summarise(
    scores: Scores, metrics: Sequence[Metric], clusters: Clusters | None = None, groups: Groups | None = None
) -> dict[str, Any]:
    """Summarise the scores of items; an item with several draws counts once, with the mean of its draws.

    With ``groups``, ``{name: {value: {n, scored, metrics}}}`` stands beside the whole, values sorted.
    """
    flat = [score for draws in scores.values() for score in draws]
    return {
        **_estimates(scores, metrics, clusters),
        "outcomes": {outcome.value: sum(s.outcome is outcome for s in flat) for outcome in Outcome},
        **({"groups": by_group(scores, metrics, clusters, groups)} if groups else {}),
    }


def _estimates(scores: Scores, metrics: Sequence[Metric], clusters: Clusters | None) -> dict[str, Any]:
    return {
        "n": len(scores),
        "scored": len(item_values(scores, metrics[0].name)),
        "metrics": {
            **{metric.name: interval(scores, metric, clusters) for metric in metrics},
            **{name: chance for metric in metrics for name, chance in _chances(scores, metric, clusters)},
        },
    }


def by_group(
    scores: Scores, metrics: Sequence[Metric], clusters: Clusters | None, groups: Groups
) -> dict[str, dict[str, dict[str, Any]]]:
    """Summarise the items of each group apart; every item is in one group of each name."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, of in groups.items():
        parts: dict[str, dict[str, Sequence[Score]]] = {}
        for item, draws in scores.items():
            parts.setdefault(of.get(item, NO_GROUP), {})[item] = draws
        found[name] = {value: _estimates(parts[value], metrics, clusters) for value in sorted(parts)}
    return found


def item_values(scores: Scores, metric: str) -> dict[str, float]:
    """Return each item's mean value of a metric; items without a value are left out."""
    values = {i: [s.values[metric] for s in draws if metric in s.values] for i, draws in scores.items()}
    return {i: float(np.mean(found)) for i, found in values.items() if found}


def item_parts(scores: Scores, metric: str) -> dict[str, npt.NDArray[np.float64]]:
    """Return each item's parts of a corpus metric, averaged over its draws, so that every item weighs the same.

    Raises DataError when two scores have parts of different lengths: they cannot be summed.
    """
    parts = {i: [s.parts[metric] for s in draws if metric in s.parts] for i, draws in scores.items()}
    lengths = {len(found) for drawn in parts.values() for found in drawn}
    if len(lengths) > 1:
        raise DataError(f"parts of {metric!r}: got lengths {sorted(lengths)}, expected one length for all samples")
    return {i: np.mean(drawn, axis=0) for i, drawn in parts.items() if drawn}


def cluster_codes(items: Sequence[str], clusters: Clusters) -> npt.NDArray[np.intp] | None:
    """Number the clusters of items, shape (items,); None where no two items share one.

    A cluster that is called like an item is still another one.
    """
    numbers: dict[tuple[bool, str], int] = {}
    keys = [(True, clusters[item]) if item in clusters else (False, item) for item in items]
    codes = [numbers.setdefault(key, len(numbers)) for key in keys]
    return None if len(numbers) == len(items) else np.array(codes, dtype=np.intp)


def interval(scores: Scores, metric: Metric, clusters: Clusters | None = None) -> dict[str, Any]:
    """Return value, 95 % interval, how it was made and over how many items; None where nothing was scored."""
    about = {"definition": metric.definition} if metric.definition else {}
    about |= {"scale": metric.scale} if metric.scale != 1 else {}
    values = item_values(scores, metric.name)
    if not values:
        nothing = {"worst_case": 0.0, "best_case": 1.0} if metric.binary and _unscored(scores) else {}
        return {"value": None, "low": None, "high": None, "method": "none", "n": 0, **nothing, **about}
    codes = cluster_codes(list(values), clusters or {})
    bounds: dict[str, float] = {}
    if metric.total is not None:
        found = _corpus(scores, metric.name, metric.total, codes)
    elif metric.binary and all(value in (0.0, 1.0) for value in values.values()):
        found, bounds = _proportion(scores, metric, list(values.values()), codes)
    else:
        found = mean_t(list(values.values()), codes)
    result = {"value": found.value, "low": found.low, "high": found.high, "method": found.method, "n": found.n}
    return {**result, **bounds, **about}


def _chances(scores: Scores, metric: Metric, clusters: Clusters | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield pass@k of a metric of right and wrong, for each k that every scored item has enough draws for."""
    drawn = {i: [s.values[metric.name] for s in draws if metric.name in s.values] for i, draws in scores.items()}
    drawn = {item: values for item, values in drawn.items() if values}
    fewest = min(map(len, drawn.values()), default=0)
    codes = cluster_codes(list(drawn), clusters or {})
    for k, name in metric.at.items():
        if k <= fewest:
            found = mean_t([pass_at_k(len(values), int(sum(values)), k) for values in drawn.values()], codes)
            about = {"definition": f"chance that one of {k} draws passes, estimated from {fewest} or more"}
            yield (
                name,
                {
                    "value": found.value,
                    "low": found.low,
                    "high": found.high,
                    "method": found.method,
                    "n": found.n,
                    **about,
                },
            )


def _corpus(scores: Scores, metric: str, total: Total, codes: npt.NDArray[np.intp] | None) -> Interval:
    return corpus_interval(np.stack(list(item_parts(scores, metric).values())), total, codes)


def _proportion(
    scores: Scores, metric: Metric, values: Sequence[float], codes: npt.NDArray[np.intp] | None
) -> tuple[Interval, dict[str, float]]:
    """Right and wrong: the metric's interval, or the clustered one, and the bounds that unscored items leave."""
    right = int(sum(values))
    of_items = {"wilson": wilson, "clopper_pearson": clopper_pearson}[metric.interval]
    found = of_items(right, len(values)) if codes is None else mean_t(values, codes)
    unscored = _unscored(scores)
    if not unscored:
        return found, {}
    bounds = bounds_with_missing(right, len(values), unscored)
    return found, {"worst_case": bounds.low, "best_case": bounds.high}


def _unscored(scores: Scores) -> int:
    return sum(not any(score.values for score in draws) for draws in scores.values())
