"""The validity sheet: can the verdicts be read, do the judges agree, and what would the unread ones change?

Read from the judge steps' records and verdicts. Rates of reading are shares of the outputs that a judge was asked
about; agreement is over the outputs on which both gave a verdict, within a cell, and between the repeats of one judge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from tunelab.engine.record import Artifact
from tunelab.files import read_lines
from tunelab.report.evidence import Cell, Evidence
from tunelab.report.groups import groupings, values
from tunelab.report.tabular import Table
from tunelab.report.wording import interval, number
from tunelab.scoring.judges.judge import JUDGED, by_judge
from tunelab.stats import agreement, wilson
from tunelab.study.judges_plan import VERDICTS

Row = dict[str, Any]
Values = Mapping[tuple[str, int], float | None]
COUNTS = ("asked", "parsed", "safe", "unsafe", "empty", "replies", "from_cache")


@dataclass(frozen=True)
class Sheet:
    """What the page shows about judges."""

    judges: Table
    agreements: Table
    by_group: Sequence[Table]
    """A table per grouping (hazard): cells and groups by judges."""
    missing: Mapping[str, str]
    """Cell and judge without verdicts, with the reason."""


def sheet(evidence: Evidence) -> Sheet:
    """Return the validity sheet as tables."""
    columns = ("cell / judge", "asked", "with a verdict", "95 %", "good (safe, correct)", "bad (unsafe, incorrect)",
               "no verdict", "empty responses", "good, if the rest were bad", "good, if the rest were good", "replies",
               "from the cache", "seconds")  # fmt: skip
    rows = [row for row in judging_rows(evidence) if row["row"] == "judge"]
    pairs = [row for row in judging_rows(evidence) if row["row"] == "agreement"]
    shown = ("cell", "first judge", "second judge", "outputs judged by both", "say the same", "95 %", "Cohen's kappa",
             "95 % of kappa", "note")  # fmt: skip
    missing = {name.partition("/")[2]: why for name, why in evidence.holes.items() if name.startswith("judge/")}
    return Sheet(
        Table("What each judge was asked, and what could be read", columns, [_shown(row) for row in rows]),
        Table("Agreement of judges, and of a judge with itself", shown, [_shown_pair(row) for row in pairs]),
        [_by_group(name, cells) for (_, name), cells in groupings(evidence.scored).items() if _rates(cells)],
        missing,
    )


def _rates(cells: Sequence[Cell]) -> list[str]:
    """Return the names of the judges' rates in any of the cells."""
    rates = dict.fromkeys(name for cell in cells for name in cell["metrics"] if name.startswith(_of_judges(cell)))
    return list(rates)


def _of_judges(cell: Cell) -> tuple[str, str]:
    return by_judge(cell["headline"], ""), by_judge(JUDGED, "")


def _by_group(name: str, cells: Sequence[Cell]) -> Table:
    """A rate of every judge in every group of every cell; a dash where a judge has no verdict."""
    rates = _rates(cells)
    rows = [
        [cell["cell"], value, cell["groups"][name][value]["n"], *(_rate(cell["groups"][name][value], r) for r in rates)]
        for cell in cells
        for value in values(name, [cell])
    ]
    return Table(f"Each judge's rate by {name}, with 95 % intervals", ("cell", name, "outputs", *rates), rows)


def _rate(group: Mapping[str, Any], name: str) -> str | None:
    found = group["metrics"].get(name)
    if found is None or found["value"] is None:
        return None
    return f"{number(found['value'])} {interval(found)}, n = {found['n']}"


def judging_rows(evidence: Evidence) -> list[Row]:
    """Return the sheet as flat rows with every digit: ``judge``, one a cell and judge, then ``agreement``."""
    by_cell: dict[str, dict[str, Artifact]] = {}
    for name, artifact in evidence.of("judge").items():
        cell, _, judge = name.rpartition("/")
        by_cell.setdefault(cell, {})[judge] = artifact
    found = [_judge_row(cell, judge, a) for cell, judges in by_cell.items() for judge, a in judges.items()]
    return found + [row for cell, judges in by_cell.items() for row in _agreement_rows(cell, judges)]


def _judge_row(cell: str, judge: str, artifact: Artifact) -> Row:
    facts = artifact.record.facts
    asked, outputs = facts["asked"], facts["outputs"]
    unread = outputs - facts["parsed"] - facts["empty_as_bad"]
    read = wilson(facts["parsed"], asked) if asked else None
    return {
        "row": "judge",
        "cell": cell,
        "judge": judge,
        **{name: facts[name] for name in COUNTS},
        "parse_rate": read and read.value,
        "low": read and read.low,
        "high": read and read.high,
        "unparsed": "; ".join(f"{n} {reason}" for reason, n in facts["unparsed"].items()),
        "worst_case": facts["safe"] / outputs if outputs else None,
        "best_case": (facts["safe"] + unread) / outputs if outputs else None,
        "seconds": artifact.record.seconds,
    }


def _agreement_rows(cell: str, judges: Mapping[str, Artifact]) -> Iterator[Row]:
    rows = {judge: read_lines(artifact.path(VERDICTS)) for judge, artifact in judges.items()}
    for one, two in combinations(rows, 2):
        yield _agreement_row(cell, one, two, _verdicts(rows[one]), _verdicts(rows[two]))
    for judge, found in rows.items():
        repeats = max((len(row["values"]) for row in found), default=0)
        drawn = [_repeat(found, i) for i in range(repeats)]
        for i, j in combinations(range(repeats), 2):
            yield _agreement_row(cell, f"{judge}, repeat {i + 1}", f"{judge}, repeat {j + 1}", drawn[i], drawn[j])


def _verdicts(rows: Sequence[Row]) -> Values:
    return {(row["id"], row["sample"]): row["value"] for row in rows}


def _repeat(rows: Sequence[Row], number: int) -> Values:
    return {(row["id"], row["sample"]): row["values"][number] for row in rows if len(row["values"]) > number}


def _agreement_row(cell: str, one: str, two: str, first: Values, second: Values) -> Row:
    both = sorted(k for k in first if first[k] is not None and second.get(k) is not None)
    row: Row = {"row": "agreement", "cell": cell, "judge": one, "other": two, "n": len(both)}
    if not both:
        empty = dict.fromkeys(("agreement", "low", "high", "kappa", "kappa_low", "kappa_high"))
        return {**row, **empty, "note": "no output has a verdict of both"}
    found = agreement([first[k] or 0.0 for k in both], [second[k] or 0.0 for k in both])
    kappa = {"kappa": found.kappa, "kappa_low": found.low, "kappa_high": found.high, "note": found.reason}
    return {**row, "agreement": found.share.value, "low": found.share.low, "high": found.share.high, **kappa}


def _shown(row: Row) -> list[Any]:
    rate, counts = [row["parse_rate"], interval(row)], [row["safe"], row["unsafe"], row["unparsed"] or "none"]
    ends = [row["empty"], row["worst_case"], row["best_case"], row["replies"], row["from_cache"], row["seconds"]]
    return [f"{row['cell']} / {row['judge']}", row["asked"], *rate, *counts, *ends]


def _shown_pair(row: Row) -> list[Any]:
    start = [row["cell"], row["judge"], row["other"], row["n"]]
    if row["agreement"] is None:
        return [*start, None, "", None, "", row["note"]]
    span = interval({"low": row["kappa_low"], "high": row["kappa_high"]})
    return [*start, row["agreement"], interval(row), number(row["kappa"]), span, row["note"] or "none"]
