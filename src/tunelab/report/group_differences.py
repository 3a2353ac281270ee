"""Differences within groups: which gained or lost by training, and one question in two languages, side by side.

Both come from ``comparison.json`` as rows of a cell, a grouping and a group. The largest gain stands first; a figure
has a dot with its interval per cell.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tunelab.report.dots import MOST, dots, in_words
from tunelab.report.drawing import INK, Picture
from tunelab.report.groups import file_name
from tunelab.report.tabular import Table
from tunelab.report.wording import listing, p_value, signed, signed_range

Row = Mapping[str, Any]
CHANGED = {"better": "▲ gained", "worse": "▼ lost", "undecided": "? undecided"}
APART = {"better": "▲ higher", "worse": "▼ lower", "undecided": "? undecided"}


@dataclass(frozen=True)
class Changes:
    """What training did to the groups of a grouping: a sentence per cell, and every number."""

    by: str
    answers: Sequence[str]
    table: Table


def differences(comparison: Mapping[str, Sequence[Row]]) -> list[Row]:
    """Return every difference within groups as a row, with the kind of difference first."""
    kinds = {"change": "group_changes", "contrast": "group_contrasts", "side by side": "group_pairs"}
    return [{"kind": kind, **row} for kind, name in kinds.items() for row in comparison[name]]


def changes(rows: Sequence[Row]) -> list[Changes]:
    """Return, per task and grouping, what each cell changed against its baseline; empty where nothing is grouped."""
    return [_changes(task, by, found) for (task, by), found in _groupings(rows).items()]


def contrasts(rows: Sequence[Row]) -> list[Table]:
    """Return, per task and grouping, what each declared contrast is in every group; empty without contrasts."""
    return [
        _table(f"{task}: contrasts by {by}, the largest first", by, found, APART)
        for (task, by), found in _groupings(_named_by_both(rows)).items()
    ]


def _named_by_both(rows: Sequence[Row]) -> list[Row]:
    """Return rows of contrasts by the names of both cells: one cell may have several."""
    return [{**row, "cell": f"{row['cell']} − {row['baseline']}"} for row in rows]


def _changes(task: str, by: str, rows: Sequence[Row]) -> Changes:
    caption = f"{task}: change by {by} against the baseline, the largest gain first"
    return Changes(by, [_in_a_sentence(found) for found in _by_cell(rows).values()], _table(caption, by, rows, CHANGED))


def side_by_side(rows: Sequence[Row]) -> list[Table]:
    """Return, per task and grouping, each two groups that hold the same questions, the first minus the second."""
    return [
        _table(f"{task}: one {by} minus the other on the same questions", by, found, APART)
        for (task, by), found in _groupings(rows).items()
    ]


def pictures(comparison: Mapping[str, Sequence[Row]]) -> list[Picture]:
    """Draw the changes, the contrasts and what stands side by side, a picture per task and grouping."""
    kinds = {
        ("change_by", "change by"): comparison["group_changes"],
        ("contrast_by", "contrasts by"): _named_by_both(comparison["group_contrasts"]),
        ("side_by_side", "side by side:"): comparison["group_pairs"],
    }
    return [
        _picture(task, by, found, *words)
        for words, rows in kinds.items()
        for (task, by), found in _groupings(rows).items()
    ]


def _groupings(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    found: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        found[row["task"], row["by"]].append(row)
    return dict(found)


def _by_cell(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["cell"]].append(row)
    return dict(found)


def _name(row: Row) -> str:
    return f"{row['group']} − {row['other']}" if "other" in row else row["group"]


def _lines(rows: Sequence[Row]) -> list[str]:
    """Return the names of groups or pairs, the largest mean difference over cells first."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for row in rows:
        found[_name(row)].append(row["difference"])
    return sorted(found, key=lambda name: (-fmean(found[name]), name))


def _table(caption: str, by: str, rows: Sequence[Row], words: Mapping[str, str]) -> Table:
    places = {name: place for place, name in enumerate(_lines(rows))}
    lines = [
        [
            row["cell"],
            _name(row),
            signed(row["difference"]),
            signed_range(row),
            p_value(row["p_adjusted"]),
            row["test"].replace("_", " "),
            row["n"],
            words[row["verdict"]],
        ]
        for found in _by_cell(rows).values()
        for row in sorted(found, key=lambda row: places[_name(row)])
    ]
    return Table(caption, ("cell", by, "Δ", "95 % of Δ", "p (BH)", "test", "n", "verdict"), lines)


def _in_a_sentence(rows: Sequence[Row]) -> str:
    said: list[str] = []
    for verdict, word in (("better", "gained"), ("worse", "lost")):
        found = sorted((r for r in rows if r["verdict"] == verdict), key=lambda r: (-abs(r["difference"]), r["group"]))
        if found:
            names = listing([f"{row['group']} ({signed(row['difference'])})" for row in found])
            said.append(f"{len(found)} of {len(rows)} {word}: {names}")
    return f"{rows[0]['cell']}: {'; '.join(said) or f'none of {len(rows)} surely gained or lost'}"


def _picture(task: str, by: str, rows: Sequence[Row], name: str, title: str) -> Picture:
    every = _lines(rows)
    largest = sorted(every, key=lambda line: -max(row["n"] for row in rows if _name(row) == line))[:MOST]
    shown = [line for line in every if line in largest]
    series = {
        cell: {_name(row): {**row, "value": row["difference"]} for row in found}
        for cell, found in _by_cell(rows).items()
    }
    figure, axes = dots(shown, series, f"{task}: difference")
    axes.axvline(0, color=INK, linewidth=0.8)
    note = f"The {MOST} largest of {len(every)}; the table has all." if len(every) > len(shown) else ""
    return Picture(file_name(name, by, task), f"{task}, {title} {by}", in_words(shown, series), figure, note)
