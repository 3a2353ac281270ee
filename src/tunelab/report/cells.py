"""The comparison as a table: a row a cell, for spreadsheets (``comparison.csv``) and for people (``.md``).

The CSV keeps every digit of ``comparison.json``; a cell without a result keeps its row, with empty fields and
the verdict ``missing``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tunelab.report.evidence import Cell, Evidence, verdict_of
from tunelab.report.wording import MARKS, interval, number, p_value, show, signed, signed_range
from tunelab.scoring.score import Outcome

OUTCOMES = tuple(outcome.value for outcome in Outcome)
TAG = re.compile(r"<(?=[A-Za-z/!?])")
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


MARKDOWN = ("variant", "evaluation", "metric", "score", "95 %", "n", "Δ baseline", "95 % of Δ", "p (Holm)", "verdict")


def to_markdown(evidence: Evidence, answer: str) -> str:
    """Write question, answer and the cells as a Markdown table."""
    study = evidence.study
    rows = [_markdown_row(cell, evidence.against) for cell in evidence.cells]
    head = [line(MARKDOWN), line(["---"] * 3 + ["---:"] * 6 + ["---"])]
    smoke = ["**SMOKE RUN: sizes are too small to conclude anything.**", ""] if study["smoke"] else []
    title = [f"# {plain(study['study'])}", "", plain(study["question"]), "", *smoke, f"**{plain(answer)}**", ""]
    return "\n".join([*title, *head, *map(line, rows)]) + "\n"


def _markdown_row(cell: Cell, against: Mapping[str, Mapping[str, Any]]) -> list[str]:
    label = cell["evaluation"] + (" (mismatched)" if cell["matched"] is False else "")
    verdict = verdict_of(cell, against)
    mark = MARKS.get(verdict, "")
    if verdict == "missing":
        return [cell["variant"], label, *[""] * 7, mark]
    found = cell["metrics"][cell["headline"]]
    row = [cell["variant"], label, cell["headline"], number(found["value"]), interval(found), show(cell["scored"])]
    compared = against.get(cell["cell"])
    if compared is None:
        return [*row, "", "", "", mark]
    if "refused" in compared:
        return [*row, "", "", "", f"{mark}: {compared['refused']}"]
    if verdict == "undecided":
        mark += f" (could see ≥ {number(compared['minimum_detectable_effect'])})"
    difference = [signed(compared["difference"]), signed_range(compared), p_value(compared["p_adjusted"])]
    return [*row, *difference, mark]


def line(fields: Sequence[str]) -> str:
    """Return a line of a Markdown table."""
    return f"| {' | '.join(map(plain, fields))} |"


def plain(text: str) -> str:
    """Keep text from ending a table's cell, becoming markup or becoming a link."""
    one_line = " ".join(text.split()).replace("&", "&amp;")
    one_line = TAG.sub("&lt;", one_line)
    return "".join(f"\\{c}" if c in "|`*\\" else c for c in one_line).replace("](", "]\\(")
