"""Results and statistics of rows as pandas frames, for notebooks.

A frame is a file of ``results/<study>/``, or a table of ``tunelab data stats``, with its columns and every digit;
nothing is computed here. What is missing is NaN or None, never 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from tunelab.errors import DataError, StudyError
from tunelab.files import read_json, read_lines
from tunelab.report.group_differences import differences
from tunelab.report.groups import group_rows
from tunelab.report.statistics import whole_tables
from tunelab.study.explore import LIMITS, Question, explore
from tunelab.study.exports import FINAL_JSON, PLACE, cell_rows
from tunelab.study.layout import eval_folder, logged
from tunelab.study.preview import find_subject
from tunelab.study.spec import Data
from tunelab.study.steps.files import COMPARISON
from tunelab.study.steps.score import group_of

RESULTS = "results.json"
"""What a person reads of each scored sample."""


@dataclass(frozen=True)
class Results:
    """A study's results; each frame is read when it is first asked for."""

    folder: Path

    @cached_property
    def comparison(self) -> dict[str, Any]:
        """What ``comparison.json`` holds: the same that ``tunelab.run`` returns."""
        return read_json(self.folder / COMPARISON)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """A row for each variant and evaluation: headline, n, difference from the baseline, verdict, threshold."""
        return pd.DataFrame(cell_rows(self.comparison))

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """A row for each cell against its baseline: difference, interval, p, test, n, items that decide."""
        return pd.DataFrame(self.comparison["comparisons"])

    @cached_property
    def contrasts(self) -> pd.DataFrame:
        """A row for each contrast that the study declares, in the same columns, with what its cells differ in."""
        return pd.DataFrame(self.comparison["contrasts"])

    @cached_property
    def recipes(self) -> pd.DataFrame:
        """A row for each recipe with three seeds or more and each evaluation: mean, spread, difference, verdict."""
        return pd.DataFrame(self.comparison["recipes"])

    @cached_property
    def noise(self) -> pd.DataFrame:
        """A row for each variant that was drawn twice: its flip rate with the interval, and the change of its score."""
        return pd.DataFrame(self.comparison["noise"])

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """A row for each metric of each cell with its interval, as in ``final_metrics.json``."""
        return pd.DataFrame(read_json(self.folder / FINAL_JSON))

    @cached_property
    def groups(self) -> pd.DataFrame:
        """A row for each group of each cell (a subject, a language), as in ``groups.csv``; empty without groups."""
        return pd.DataFrame(group_rows(self.comparison["cells"]))

    @cached_property
    def group_differences(self) -> pd.DataFrame:
        """A row for each difference within groups, as in ``group_differences.csv``; empty without groups."""
        return pd.DataFrame(differences(self.comparison))

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row for each sample that a cell was scored on.

        It has the outcome, a column for each metric, the extracted answer, the targets (a list), and a column for
        each of the task's groupings with the sample's group.
        """
        return pd.DataFrame([*self._scores()])

    @cached_property
    def training(self) -> pd.DataFrame:
        """A row for each logged optimiser step of each trained variant: loss, learning rate and more."""
        variants = dict.fromkeys(row["variant"] for row in cell_rows(self.comparison))
        rows = [{"variant": v, **row} for v in variants for row in read_lines(logged(self.folder, v))]
        return pd.DataFrame(rows)

    def _scores(self) -> Iterator[dict[str, Any]]:
        for cell in self.comparison["cells"]:
            place = {name: cell[name] for name in PLACE}
            for row in read_json(eval_folder(self.folder, cell["variant"], cell["evaluation"]) / RESULTS):
                plain = {name: row[name] for name in ("id", "sample", "outcome", "cluster") if name in row}
                groups = {name: group_of(row["metadata"], name) for name in cell.get("groups", {})}
                said = {name: row[name] for name in ("answer", "targets")}
                found = {**place, **plain, **row["values"]}
                yield found | {name: value for name, value in {**said, **groups}.items() if name not in found}


def open_results(folder: str | Path) -> Results:
    """Open ``results/<study>``. Raises StudyError where no study has compared anything."""
    found = Path(folder)
    if not (found / COMPARISON).is_file():
        raise StudyError(f"{found}: got a folder without {COMPARISON}, expected results/<study>; run the study first")
    return Results(found)


def stats_of(
    subject: str,
    *,
    splits: Sequence[str] = (),
    tokenizers: Sequence[str] = ("tiny",),
    limits: Sequence[int] = LIMITS,
    by: Sequence[str] = (),
    data: Data | None = None,
) -> dict[str, pd.DataFrame]:
    """Return what ``tunelab data stats`` writes as CSV: splits, columns, duplicates, places, lengths, distributions.

    ``subject`` is a task's name, FILE.py:Class or a study; ``limits`` are lengths in characters and tokens. Without
    ``splits``, those of training and test that are there. A table without rows is left out. Raises DataError for rows
    that are not there, and for a row that the task refuses.
    """
    found = find_subject(subject)
    stats = explore(found if data is None else replace(found, data=data), Question(splits, tokenizers, limits, by))
    if refused := stats["refused"]:
        raise DataError("; ".join(refused.values()))
    return {
        name: pd.DataFrame(list(table.rows), columns=list(table.columns)) for name, table in whole_tables(stats).items()
    }
