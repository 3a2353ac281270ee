"""Scoring outputs that somebody else generated, with the scorer that studies use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from tunelab.data.readers import read_rows
from tunelab.data.sample import Sample
from tunelab.errors import DataError
from tunelab.scoring.aggregate import summarise
from tunelab.scoring.score import Score
from tunelab.study.source import choose_source
from tunelab.study.spec import Data
from tunelab.study.steps.score import score_output
from tunelab.tasks.task import Task, find_task, load_samples

Row = dict[str, Any]


def score_file(task_name: str, path: Path, split: str | None = None) -> dict[str, Any]:
    """Score rows that carry ``output`` and one of ``id``, ``index`` or ``target``.

    Returns task, n, metrics with value, low and high, and outcomes. Rows that share an id are draws of one item.
    Raises DataError that names the row.
    """
    task = find_task(task_name)
    scores: defaultdict[str, list[Score]] = defaultdict(list)
    for sample, row in zip(*_resolved(task, path, split), strict=True):
        scores[sample.id].append(score_output(task, sample, row))
    summary = summarise(scores, task.metrics)
    metrics = {name: {k: m[k] for k in ("value", "low", "high")} for name, m in summary["metrics"].items()}
    return {"task": task.name, "n": summary["n"], "metrics": metrics, "outcomes": summary["outcomes"]}


def _resolved(task: Task, path: Path, split: str | None) -> tuple[list[Sample], list[Row]]:
    """Return each row's sample, and the rows."""
    rows = read_rows(path)
    for number, row in enumerate(rows, 1):
        if not isinstance(row.get("output"), str):
            raise DataError(f"{path}, row {number}: got output {row.get('output')!r}, expected a string")
    if all("target" in row for row in rows):
        return [_own(row, number, path) for number, row in enumerate(rows, 1)], rows
    known = load_samples(task, split or task.test_split, choose_source(task, Data(), Path.cwd()))
    by_id = {sample.id: sample for sample in known}
    return [_of_split(row, f"{path}, row {n}", known, by_id) for n, row in enumerate(rows, 1)], rows


def _own(row: Row, number: int, path: Path) -> Sample:
    """A sample with the row's own accepted answers."""
    target = row["target"]
    targets = [target] if isinstance(target, str) else target
    if not isinstance(targets, list) or not all(isinstance(t, str) for t in cast(list[Any], targets)):
        raise DataError(f"{path}, row {number}: got target {target!r}, expected a string or a list of strings")
    return Sample(str(row.get("id", row.get("index", f"row-{number}"))), row, tuple(cast(list[str], targets)))


def _of_split(row: Row, where: str, known: Sequence[Sample], by_id: dict[str, Sample]) -> Sample:
    """The task's sample that a row answers."""
    if "id" in row:
        if str(row["id"]) not in by_id:
            raise DataError(
                f"{where}: got id {row['id']!r}, expected one of the split's {len(known)} ids, like {known[0].id!r}"
            )
        return by_id[str(row["id"])]
    if "index" in row:
        if not isinstance(row["index"], int) or not 0 <= row["index"] < len(known):
            raise DataError(f"{where}: got index {row['index']!r}, expected 0 to {len(known) - 1}")
        return known[row["index"]]
    raise DataError(f"{where}: no id, index or target, expected one of them")
