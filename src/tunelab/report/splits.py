"""The page's table of splits that the study made itself: how its strata were shared out, and what was too long.

Beside the whole stands how many questions have rows in several parts, and how many would if nothing kept them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunelab.report.evidence import Evidence
from tunelab.report.tabular import Table

COLUMNS = ("task", "made of", "stratum", "rows", "left out as long", "rows of each part", "note")
WHOLE = "all rows"
Row = Mapping[str, Any]


def splits(evidence: Evidence) -> Table:
    """Return a row for every split that was parted, and one for each of its strata."""
    receipts: dict[tuple[str, str], Row] = {}
    for artifact in evidence.of("prepare").values():
        made: Row | None = artifact.record.facts["receipt"].get("made")
        if made:
            receipts[artifact.record.settings["task"]["name"], made["from"]] = made
    rows = [[task, of, *line] for (task, of), made in receipts.items() for line in _lines(made)]
    return Table("Splits that the study made", COLUMNS, rows)


def _lines(made: Row) -> list[list[Any]]:
    whole = [WHOLE, made["available"], made["too_long"], _parts(made["rows"], made), _groups(made)]
    strata: Mapping[str, Row] = made["strata"]
    return [
        whole,
        *([n, s["available"], s["too_long"], _parts(s, made), _note(n, made)] for n, s in strata.items()),
    ]


def _parts(counts: Row, made: Row) -> str:
    return ", ".join(f"{part} {counts[part]:,}" for part in made["rows"])


def _groups(made: Row) -> str:
    several = made["in_several_parts"]
    return (
        f"{made['groups']:,} groups; of {made['questions']:,} questions {several['here']:,} stand in several parts, "
        f"{several['ungrouped']:,} where groups are ignored"
    )


def _note(stratum: str, made: Row) -> str:
    """Say of a stratum that it is rare, and which parts have none of it."""
    without = [part for part, strata in made["absent"].items() if stratum in strata]
    rare = "fewer groups than parts" if stratum in made["rare"] else ""
    return "; ".join(filter(None, [rare, f"none in {', '.join(without)}" if without else ""]))
