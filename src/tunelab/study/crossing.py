"""Crossed designs: factor effects over the trained cells, and the points of the formats' interaction.

Effects are taken among cells that were asked the same samples and scored by the same scorer, item by item, with
Holm's correction over all effects of a task.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tunelab.canonical import canonical
from tunelab.stats import (
    Estimate,
    Interval,
    Verdict,
    contrast,
    corpus_contrast,
    corpus_mean,
    holm,
    mean_t,
    verdict,
    wilson,
)
from tunelab.stats.arrays import FloatArray
from tunelab.study.effects import corners, effects
from tunelab.study.scored import Aligned, Cell, Scored, align
from tunelab.study.sensitivity import sensitivity

SIGNS = {Verdict.BETTER: "positive", Verdict.WORSE: "negative", Verdict.UNDECIDED: "undecided"}


def factor_effects(scored: Iterable[Scored], alpha: float) -> list[dict[str, Any]]:
    """Return every effect that the trained cells can show, with interval, p-values and verdict."""
    rows = [row for group in _groups(scored) for row in _group_effects(group, alpha)]
    families: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        families[row["task"]].append(row)
    for family in families.values():
        for row, p in zip(family, holm([r["p_value"] for r in family]), strict=True):
            row["p_adjusted"] = float(p)
            row["verdict"] = SIGNS[verdict(row["value"], float(p), alpha)]
    return rows


def interactions(scored: Iterable[Scored]) -> list[dict[str, Any]]:
    """Return the mean score of each training format under each evaluation format, where the two are fully crossed."""
    return [row for group in _groups(scored) for row in _group_corners(group)]


def _groups(scored: Iterable[Scored]) -> list[list[Scored]]:
    """Put together the trained cells that were asked the same samples and scored alike."""
    groups: defaultdict[tuple[str, str, frozenset[str]], list[Scored]] = defaultdict(list)
    for s in scored:
        if s.cell["factors"]["method"] is not None:
            groups[s.cell["task"], s.scorer, frozenset(s.scores)].append(s)
    return list(groups.values())


def _group_effects(group: Sequence[Scored], alpha: float) -> list[dict[str, Any]]:
    aligned = align(group)
    if not aligned.items:
        return []
    rows: list[dict[str, Any]] = []
    for effect in effects([_factors(s.cell) for s in group], _plain(group)):
        found = _contrast(aligned, effect.weights)
        rows.append(
            {
                **_where(s for s, weight in zip(group, effect.weights, strict=True) if weight),
                "effect": effect.name,
                "factors": list(effect.factors),
                "levels": list(effect.levels),
                "formats": list(effect.formats),
                "meaning": effect.meaning,
                "cells": int(np.count_nonzero(effect.weights)),
                "value": found.value,
                "low": found.low,
                "high": found.high,
                "p_value": found.p_value,
                "test": found.test,
                "n": found.n,
                **sensitivity(found, alpha),
            }
        )
    return rows


def _group_corners(group: Sequence[Scored]) -> list[dict[str, Any]]:
    aligned = align(group)
    if not aligned.items:
        return []
    found_corners = corners([_factors(s.cell) for s in group], _plain(group))
    shown = [group[i] for corner in found_corners for i in corner.cells]
    rows: list[dict[str, Any]] = []
    for corner in found_corners:
        found = _mean(aligned, corner.cells)
        rows.append(
            {
                **_where(shown),
                **corner.panel,
                "train_format": corner.train_format,
                "eval_format": corner.eval_format,
                "cells": [group[i].cell["cell"] for i in corner.cells],
                "value": found.value,
                "low": found.low,
                "high": found.high,
                "n": found.n,
                "interval": found.method,
            }
        )
    return rows


def _contrast(aligned: Aligned, weights: FloatArray) -> Estimate:
    if corpus := aligned.corpus:
        return corpus_contrast(corpus.parts, weights, corpus.total, aligned.clusters)
    return contrast(aligned.values, weights, aligned.clusters)


def _mean(aligned: Aligned, cells: Sequence[int]) -> Interval:
    """Mean of cells: Wilson's interval for one cell of right or wrong, else t over the items' means.

    Corpus metrics are averaged over the cells, with the bootstrap's interval.
    """
    if corpus := aligned.corpus:
        return corpus_mean(corpus.parts[list(cells)], corpus.total, aligned.clusters)
    values = aligned.values[list(cells)].mean(axis=0)
    if aligned.clusters is None and np.isin(values, (0.0, 1.0)).all():
        return wilson(int(values.sum()), len(values))
    return mean_t(values, aligned.clusters)


def _where(cells: Iterable[Scored]) -> dict[str, Any]:
    """Say on what something was found: the task, its metric and the evaluations."""
    found = list(cells)
    evaluations = list(dict.fromkeys(s.cell["evaluation"] for s in found))
    return {"task": found[0].cell["task"], "metric": found[0].headline, "evaluations": evaluations}


def _factors(cell: Cell) -> dict[str, str | None]:
    others = cell["others"]
    equal = {"evaluation": canonical(others["evaluation"]), "recipe": canonical(others["recipe"])}
    return {**cell["factors"], "seed": str(cell["seed"]), **equal}


def _plain(group: Sequence[Scored]) -> set[str]:
    """Return the names of the formats without a template."""
    return {
        s.cell["factors"][side] for s in group for side, template in s.cell["templates"].items() if template == "raw"
    }
