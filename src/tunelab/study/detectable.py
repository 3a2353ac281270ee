"""Before a study runs: the smallest difference that comparisons, contrasts and recipes would see in 80 of 100 studies.

What cannot be known before is assumed and said: how many items change between right and wrong, how far graded scores of
one item lie apart, and how far the seeds of a recipe do. Rows that share a cluster, such as translations of a question,
are one independent item; how many there are is known once they are prepared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tunelab.engine.record import Artifact
from tunelab.scoring.score import Metric
from tunelab.stats import (
    fewest_items,
    minimum_detectable_effect,
    minimum_detectable_mean,
    minimum_detectable_with_seeds,
)
from tunelab.stats.seeds import MINIMUM_SEEDS
from tunelab.study.cells import Cell, Evaluation
from tunelab.study.contrasts import contrasts
from tunelab.study.denominators import planned_rows
from tunelab.study.open import Opened
from tunelab.study.recipes import SEED
from tunelab.study.steps.rows import read_samples
from tunelab.study.steps.score import cluster_of
from tunelab.study.worked_examples import joins
from tunelab.tasks.find import find_task

DISCORDANCE = 0.1
"""Share of items that two variants answer differently."""
SPREAD = 0.3
"""Standard deviation over items of the difference of two graded scores between 0 and 1."""
SEED_SPREAD = 0.01
"""Standard deviation of a recipe's score between seeds."""


@dataclass(frozen=True)
class _Asked:
    """How many items a cell is asked, how many of them are independent, and what is not known of that."""

    rows: int
    independent: int
    proviso: str

    def text(self) -> str:
        """Name the number of items."""
        if self.independent == self.rows:
            return f"{self.rows} {'item' if self.rows == 1 else 'items'}"
        return f"{self.independent} independent items, of {self.rows} rows,"


def detectable(opened: Opened) -> list[str]:
    """Return a line per evaluation, per recipe with three seeds or more under it, and per declared contrast."""
    cells = opened.compiled.cells
    by_evaluation = {cell.evaluation.name: cell for cell in cells}
    lines = [line for cell in by_evaluation.values() for line in _evaluation(opened, cell)]
    pairs = contrasts(opened.compiled.study, cells)
    return lines + [f"contrast {one.name} - {other.name}: {_sees(opened, one)}" for one, other in pairs]


def _evaluation(opened: Opened, cell: Cell) -> list[str]:
    name = f"evaluate.{cell.evaluation.name}"
    seeds = _most_seeds(opened, cell.evaluation)
    over_seeds = _seeds(opened, cell, seeds) if seeds >= MINIMUM_SEEDS else ""
    return [f"{name}: {_sees(opened, cell)}", *([f"{name}: {over_seeds}"] if over_seeds else [])]


def _sees(opened: Opened, cell: Cell) -> str:
    asked, metric = _asked(opened, cell), _headline(opened, cell)
    if asked is None:
        return "the number of items is known once its rows are prepared"
    if metric.total is not None:
        return f"{asked.text()} are asked; what a corpus metric such as {metric.name} sees is known from the outputs"
    effect, assumption = _effect(opened, cell, asked.independent)
    if math.isinf(effect):
        least = fewest_items(opened.compiled.study.alpha)
        return f"{asked.text()} see nothing: no difference can be seen with fewer than {least} items{asked.proviso}"
    return f"{asked.text()} see a difference of {effect:.3f} if {assumption}{asked.proviso}"


def _effect(opened: Opened, cell: Cell, n: int) -> tuple[float, str]:
    alpha, metric = opened.compiled.study.alpha, _headline(opened, cell)
    if _is_right_or_wrong(opened, cell):
        return minimum_detectable_effect(n, DISCORDANCE, alpha=alpha), f"{DISCORDANCE:.0%} of them change"
    spread = SPREAD * metric.scale
    assumption = f"differences of an item's {metric.name} have a standard deviation of {spread:g}"
    return minimum_detectable_mean(spread, n, alpha=alpha), assumption


def _seeds(opened: Opened, cell: Cell, seeds: int) -> str:
    """Say what the mean of a recipe's seeds sees; empty where nothing is known of the items."""
    asked, metric = _asked(opened, cell), _headline(opened, cell)
    if asked is None or metric.total is not None:
        return ""
    variance = DISCORDANCE if _is_right_or_wrong(opened, cell) else (SPREAD * metric.scale) ** 2
    error, spread = math.sqrt(variance / asked.independent), SEED_SPREAD * metric.scale
    effect = minimum_detectable_with_seeds(seeds, spread, error, alpha=opened.compiled.study.alpha)
    return (
        f"the mean of {seeds} seeds of a recipe sees a difference of {effect:.3f} if seeds lie {spread:g} (SD) apart, "
        f"and the items as above"
    )


def _most_seeds(opened: Opened, evaluation: Evaluation) -> int:
    """Return how many seeds the recipe with the most of them has under an evaluation."""
    names = [c.variant.name for c in opened.compiled.cells if c.evaluation.name == evaluation.name and c.variant.train]
    seeded = [SEED.sub("", name) for name in names if SEED.search(name)]
    return max((seeded.count(name) for name in set(seeded)), default=1)


def _is_right_or_wrong(opened: Opened, cell: Cell) -> bool:
    """Say whether an item's score is 0 or 1; the mean of several draws is neither."""
    return _headline(opened, cell).binary and cell.evaluation.settings.samples == 1


def _headline(opened: Opened, cell: Cell) -> Metric:
    return find_task(cell.evaluation.task, opened.compiled.folder).metrics[0]


def _asked(opened: Opened, cell: Cell) -> _Asked | None:
    """Return how many items a cell is asked; None where that is not known yet."""
    found = opened.store.find(opened.compiled.scores[cell.name].inputs["rows"])
    if found:
        return _Asked(found.record.facts["receipt"]["rows"], _independent(found), "")
    declared = {c["cell"]: c["rows"] for c in opened.compiled.compare.settings["cells"]}
    n = planned_rows(declared[cell.name])
    if n is None:
        return None
    return _Asked(n, n, ", and if all rows are independent" if _translated(opened, cell.evaluation) else "")


def _independent(rows: Artifact) -> int:
    """Count prepared rows, those of a cluster as one."""
    return len({("cluster", cluster_of(s)) if cluster_of(s) is not None else ("row", s.id) for s in read_samples(rows)})


def _translated(opened: Opened, evaluation: Evaluation) -> bool:
    """Say whether an evaluation is known, without its rows, to ask questions in several languages."""
    task = find_task(evaluation.task, opened.compiled.folder)
    return joins(task, evaluation.settings.split or task.test_split)
