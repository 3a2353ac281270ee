"""Scoring outputs that somebody else generated, with the scorer that studies use."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from tunelab.data.readers import read_outputs
from tunelab.data.sample import Sample
from tunelab.errors import DataError
from tunelab.scoring.aggregate import summarise
from tunelab.scoring.score import Score
from tunelab.study.source import choose_source
from tunelab.study.spec import Data
from tunelab.study.steps.score import cluster_of, score_output
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import load_samples
from tunelab.tasks.sandboxed import refuse_unsafe
from tunelab.tasks.task import Task

Row = dict[str, Any]

NAMES = ("id", "index", "target")
SHOWN = ("value", "low", "high", "n", "definition")
INDEX = re.compile(r"([0-9]{1,18})(?:\.0*)?")
"""A row number as files write it: 3, or 3.0 where a column with gaps became one of floats."""


def score_file(task_name: str, path: Path, split: str | None = None) -> dict[str, Any]:
    """Score rows that carry ``output`` and one of ``target``, ``id`` or ``index``; a file may mix them.

    A JSON object from id to output will do, too. Returns task, n, metrics (value, low, high, n and what the name
    leaves open), outcomes, and how many samples of the split are ``unanswered``: they are in no value. Rows that
    answer one sample of the split are draws of one item. A row with its own ``target`` is an item of its own, or a
    draw of the item that its ``id`` names. Raises DataError that names the row.
    """
    task = find_task(task_name)
    refuse_unsafe(task, "bubblewrap")
    rows = _rows(path)
    known = _samples(task, split) if not all("target" in row for row in rows) else []
    scores: defaultdict[str, list[Score]] = defaultdict(list)
    clusters: dict[str, str] = {}
    for where, item, sample, row in _resolved(rows, path, known):
        try:
            scores[item].append(score_output(task, sample, row))
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        if (cluster := cluster_of(sample)) is not None:
            clusters[item] = cluster
    summary = summarise(scores, task.metrics, clusters)
    metrics = {name: {k: v for k, v in m.items() if k in SHOWN} for name, m in summary["metrics"].items()}
    unanswered = sum(_item(sample) not in scores for sample in known)
    counts = {"outcomes": summary["outcomes"], "unanswered": unanswered}
    return {"task": task.name, "n": summary["n"], "metrics": metrics, **counts}


def _rows(path: Path) -> list[Row]:
    absent = (None, "") if path.suffix.lower() == ".csv" else (None,)
    return [{k: v for k, v in row.items() if k not in NAMES or v not in absent} for row in read_outputs(path)]


def _samples(task: Task, split: str | None) -> list[Sample]:
    return load_samples(task, split or task.test_split, choose_source(task, Data(), Path.cwd()))


def _item(sample: Sample) -> str:
    """What the draws of a split's sample are kept under."""
    return f"split {sample.id}"


def by_id(samples: Sequence[Sample]) -> dict[str, Sample]:
    """Map ids to samples: ours, and those that the data set gives where they are not ours and name one sample only."""
    given = [str(sample.metadata["id"]) for sample in samples if "id" in sample.metadata]
    times = Counter(given)
    others = {name: s for s in samples if times[name := str(s.metadata.get("id"))] == 1}
    return others | {sample.id: sample for sample in samples}


def _resolved(rows: Sequence[Row], path: Path, known: Sequence[Sample]) -> Iterator[tuple[str, str, Sample, Row]]:
    """Yield where each row is, the item it is a draw of, its sample, and the row."""
    known_by_id = by_id(known)
    own: dict[str, Sample] = {}
    for number, row in enumerate(rows, 1):
        where = f"{path}, row {number}"
        if not isinstance(row.get("output"), str):
            raise DataError(f"{where}: got output {row.get('output')!r}, expected a string")
        if "target" in row:
            sample = _own(row, number, where)
            item = f"id {sample.id}" if "id" in row else f"row {number}"
            if (first := own.setdefault(item, sample)).targets != sample.targets:
                raise DataError(
                    f"{where}: got target {row['target']!r}, expected that of the earlier row with the same id "
                    f"{sample.id!r}, {list(first.targets)!r}"
                )
        else:
            sample = _of_split(row, where, known, known_by_id)
            item = _item(sample)
        yield where, item, sample, row


def _own(row: Row, number: int, where: str) -> Sample:
    """A sample with the row's own accepted answers."""
    target = row["target"]
    targets = [target] if isinstance(target, str) else target
    if not isinstance(targets, list) or not all(isinstance(t, str) for t in cast(list[Any], targets)):
        raise DataError(f"{where}: got target {target!r}, expected a string or a list of strings")
    metadata = {"cluster": row["cluster"]} if "cluster" in row else {}
    return Sample(str(row.get("id", f"row-{number}")), row, tuple(cast(list[str], targets)), metadata)


def _of_split(row: Row, where: str, known: Sequence[Sample], by_id: dict[str, Sample]) -> Sample:
    """The task's sample that a row answers."""
    if "id" in row:
        if str(row["id"]) not in by_id:
            raise DataError(
                f"{where}: got id {row['id']!r}, expected one of the split's {len(known)} ids, like {known[0].id!r}"
            )
        return by_id[str(row["id"])]
    if "index" in row:
        whole = INDEX.fullmatch(str(row["index"]))
        if whole is None or int(whole[1]) >= len(known):
            raise DataError(f"{where}: got index {row['index']!r}, expected 0 to {len(known) - 1}")
        return known[int(whole[1])]
    raise DataError(f"{where}: no id, index or target, expected one of them")
