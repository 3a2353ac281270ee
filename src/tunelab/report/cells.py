"""The comparison as a table: a row a cell, for spreadsheets (``comparison.csv``) and for people (``.md``).

The CSV keeps every digit of ``comparison.json``; a cell without a result keeps its row, with empty fields and
the verdict ``missing``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunelab.report import tabular
from tunelab.report.escaping import markdown
from tunelab.report.evidence import Cell, Evidence, verdict_of
from tunelab.report.tabular import Table
from tunelab.report.wording import MARKS, could_see, interval, p_value, signed, signed_range
from tunelab.scoring.score import Outcome

OUTCOMES = tuple(outcome.value for outcome in Outcome)
DIFFERENCE = {
    "difference": "difference",
    "diff_low": "low",
    "diff_high": "high",
    "p_value": "p_value",
    "p_adjusted": "p_adjusted",
    "minimum_detectable_effect": "minimum_detectable_effect",
    "items_needed": "items_needed",
    "not_compared": "refused",
}


def csv_rows(evidence: Evidence) -> list[dict[str, Any]]:
    """Return a flat row per cell; every row has the same columns."""
    metrics = metric_names(evidence.scored)
    return [_csv_row(cell, evidence.against, metrics) for cell in evidence.cells]


def _csv_row(cell: Cell, against: Mapping[str, Mapping[str, Any]], metrics: Sequence[str]) -> dict[str, Any]:
    scores: Mapping[str, Any] = cell.get("metrics", {})
    headline: str = cell.get("headline", "")
    found: Mapping[str, Any] = scores.get(headline, {})
    compared = against.get(cell["cell"], {})
    return {
        **{name: cell[name] for name in ("variant", "evaluation", "task", "matched", "baseline")},
        "metric": headline,
        **{bound: found.get(bound) for bound in ("value", "low", "high")},
        **{name: cell.get(name) for name in ("majority", "n", "scored", "unanswered")},
        **{name: cell.get("outcomes", {}).get(name) for name in OUTCOMES},
        **{column: compared.get(name) for column, name in DIFFERENCE.items()},
        "verdict": verdict_of(cell, against),
        **{f"{m}_{bound}": scores.get(m, {}).get(bound) for m in metrics for bound in ("value", "low", "high")},
    }


def metric_names(cells: Sequence[Cell]) -> list[str]:
    """Return every metric that any of the cells has, in order."""
    return list(dict.fromkeys(name for cell in cells for name in cell["metrics"]))


def results(evidence: Evidence) -> Table:
    """Return a row a cell: its score, and its difference from the baseline."""
    columns = (
        "variant",
        "evaluation",
        "metric",
        "score",
        "95 %",
        "n",
        "Δ baseline",
        "95 % of Δ",
        "p (Holm)",
        "verdict",
    )
    rows = [_result(cell, evidence.against) for cell in evidence.cells]
    return Table("Scores and differences from the baseline", columns, rows)


def to_markdown(evidence: Evidence, answer: str) -> str:
    """Write question, answer and the cells as a Markdown table."""
    study = evidence.study
    smoke = ["**SMOKE RUN: sizes are too small to conclude anything.**", ""] if study["smoke"] else []
    title = [
        f"# {markdown(study['study'])}",
        "",
        markdown(study["question"]),
        "",
        *smoke,
        f"**{markdown(answer)}**",
        "",
    ]
    return "\n".join([*title, tabular.to_markdown(results(evidence))])


def _result(cell: Cell, against: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    label = cell["evaluation"] + (" (mismatched)" if cell["matched"] is False else "")
    verdict = verdict_of(cell, against)
    mark = MARKS.get(verdict, "")
    if verdict == "missing":
        return [cell["variant"], label, *[None] * 7, mark]
    found = cell["metrics"][cell["headline"]]
    row = [cell["variant"], label, cell["headline"], found["value"], interval(found), cell["scored"]]
    compared = against.get(cell["cell"])
    if compared is None:
        return [*row, None, None, None, mark]
    if "refused" in compared:
        return [*row, None, None, None, f"{mark}: {compared['refused']}"]
    if verdict == "undecided":
        mark += f" ({could_see(compared)})"
    difference = [signed(compared["difference"]), signed_range(compared), p_value(compared["p_adjusted"])]
    return [*row, *difference, mark]
