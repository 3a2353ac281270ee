"""The results as tables that other programs read, made from ``comparison.json`` alone.

    final_metrics.json   a row a cell and metric, every digit
    final_metrics.csv    the same with six digits
    summary.csv          a row a variant: per evaluation the headline, its difference from the baseline, its threshold

What is missing is null or an empty field, never 0: a cell without a result, without a verdict of a judge, or with
another n than it had to have. ``scored`` counts the samples that have a value of the metric, ``unscored`` the others.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunelab.files import write_atomic, write_json

FINAL_JSON, FINAL_CSV, SUMMARY_CSV = "final_metrics.json", "final_metrics.csv", "summary.csv"
EXPORTS = (FINAL_JSON, FINAL_CSV, SUMMARY_CSV)
PLACE = ("variant", "evaluation", "task")
Row = dict[str, Any]
Plain = Mapping[str, Any]


def write_exports(comparison: Plain, study: str, folder: Path) -> None:
    """Write the three files into ``folder``."""
    rows = final_metrics(comparison, study)
    write_json(folder / FINAL_JSON, rows)
    write_atomic(folder / FINAL_CSV, _csv(rows))
    write_atomic(folder / SUMMARY_CSV, _csv(summary(comparison, study)))


def final_metrics(comparison: Plain, study: str) -> list[Row]:
    """Return a row for each metric of each cell; a cell without a result has one, for its headline."""
    thresholds = {(row["cell"], row["metric"]): row for row in comparison["thresholds"]}
    rows: list[Row] = []
    for cell in _cells(comparison):
        for metric, found in cell["metrics"].items():
            rows.append({"study": study, **_final(cell, metric, found, thresholds.get((cell["cell"], metric), {}))})
    return rows


def _cells(comparison: Plain) -> list[Plain]:
    """The cells with a result, then those without, shaped alike."""
    return [*comparison["cells"], *({**cell, "metrics": {cell["headline"]: {}}} for cell in comparison["missing"])]


def _final(cell: Plain, metric: str, found: Plain, threshold: Plain) -> Row:
    return {
        **{name: cell[name] for name in PLACE},
        "metric": metric,
        **{name: found.get(name) for name in ("value", "low", "high")},
        "interval_method": found.get("method"),
        "n": cell.get("n"),
        "expected_n": cell.get("expected", cell.get("rows", {}).get("declared")),
        "scored": found.get("n"),
        "unscored": cell["n"] - found["n"] if "n" in cell and "n" in found else None,
        "unanswered": cell.get("unanswered"),
        **{name: found.get(name) for name in ("worst_case", "best_case")},
        "threshold": threshold.get("at_least"),
        "verdict": threshold.get("verdict"),
        "error": cell.get("error"),
    }


def cell_rows(comparison: Plain) -> list[Row]:
    """Return a row for each cell: its headline, its difference from the baseline, its threshold."""
    against = {row["cell"]: row for row in comparison["comparisons"]}
    thresholds = {(row["cell"], row["metric"]): row for row in comparison["thresholds"]}
    return [_cell_row(cell, against, thresholds) for cell in _cells(comparison)]


def summary(comparison: Plain, study: str) -> list[Row]:
    """Return a row for each variant, with the same columns for every evaluation; a cell nobody asked for is empty."""
    cells = {(row["variant"], row["evaluation"]): row for row in cell_rows(comparison)}
    evaluations = list(dict.fromkeys(evaluation for _, evaluation in cells))
    columns = [name for name in next(iter(cells.values()), {}) if name not in PLACE]
    rows: list[Row] = []
    for variant in dict.fromkeys(variant for variant, _ in cells):
        row: Row = {"study": study, "variant": variant}
        for evaluation in evaluations:
            found = cells.get((variant, evaluation), {})
            row |= {f"{evaluation}_{name}": found.get(name) for name in columns}
        rows.append(row)
    return rows


def _cell_row(cell: Plain, against: Mapping[str, Plain], thresholds: Mapping[tuple[str, str], Plain]) -> Row:
    metric = cell["headline"]
    found: Plain = cell["metrics"].get(metric, {})
    compared = against.get(cell["cell"], {})
    threshold = thresholds.get((cell["cell"], metric), {})
    return {
        **{name: cell[name] for name in PLACE},
        "metric": metric,
        **{name: found.get(name) for name in ("value", "low", "high")},
        "n": cell.get("n"),
        "expected_n": cell.get("expected"),
        "scored": found.get("n"),
        "difference": compared.get("difference"),
        "difference_low": compared.get("low"),
        "difference_high": compared.get("high"),
        "difference_verdict": compared.get("verdict"),
        "threshold": threshold.get("at_least"),
        "threshold_verdict": threshold.get("verdict"),
        "error": cell.get("error", compared.get("refused")),
    }


def _csv(rows: Sequence[Row]) -> str:
    """Write rows with six digits; a missing value is an empty field."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _short(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
