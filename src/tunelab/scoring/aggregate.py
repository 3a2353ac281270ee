"""From scores to a summary: each metric with its interval, each outcome with its count.

Values are fractions of 1 unless the metric's reference uses another scale. ``n`` counts the items asked for and
``scored`` those that have a value; unscored items are left out of the value and bound it from both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tunelab.scoring.score import Metric, Outcome, Score
from tunelab.stats import bounds_with_missing, mean_t, wilson


def summarise(scores: Mapping[str, Sequence[Score]], metrics: Sequence[Metric]) -> dict[str, Any]:
    """Summarise the scores of items; an item with several draws counts once, with the mean of its draws."""
    flat = [score for draws in scores.values() for score in draws]
    return {
        "n": len(scores),
        "scored": len(item_values(scores, metrics[0].name)),
        "metrics": {metric.name: interval(scores, metric) for metric in metrics},
        "outcomes": {outcome.value: sum(s.outcome is outcome for s in flat) for outcome in Outcome},
    }


def item_values(scores: Mapping[str, Sequence[Score]], metric: str) -> dict[str, float]:
    """Return each item's mean value of a metric; items without a value are left out."""
    values = {i: [s.values[metric] for s in draws if metric in s.values] for i, draws in scores.items()}
    return {i: float(np.mean(found)) for i, found in values.items() if found}


def interval(scores: Mapping[str, Sequence[Score]], metric: Metric) -> dict[str, Any]:
    """Return value, 95 % interval and how it was made; None where nothing was scored."""
    values = np.array(list(item_values(scores, metric.name).values()), dtype=np.float64)
    if len(values) == 0:
        return {"value": None, "low": None, "high": None, "method": "none"}
    if metric.binary and np.isin(values, (0.0, 1.0)).all():
        found = wilson(int(values.sum()), len(values))
        missing = len(scores) - len(values)
        bounds = bounds_with_missing(int(values.sum()), len(values), missing) if missing else None
    else:
        found, bounds = mean_t(values), None
    result: dict[str, Any] = {"value": found.value, "low": found.low, "high": found.high, "method": found.method}
    return result | ({"worst_case": bounds.low, "best_case": bounds.high} if bounds else {})
