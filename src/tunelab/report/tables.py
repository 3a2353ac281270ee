"""The page's tables about results: outcomes, metrics, effects, thresholds and what cannot be compared.

A table holds plain values; how they look is the page's business. Nothing is computed but shares of counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunelab.report.cells import OUTCOMES, metric_names
from tunelab.report.counted import tokens
from tunelab.report.disagreements import Link, disagreements
from tunelab.report.evidence import Cell, Evidence, verdict_of
from tunelab.report.tabular import Table
from tunelab.report.wording import (
    MARKS,
    could_see,
    interval,
    number,
    p_value,
    short,
    signed,
    signed_range,
    smallest_seen,
)

FROM_FILE = "outputs from a file"
"""What stands beside the score of a cell that no model of the study answered."""


@dataclass(frozen=True)
class Tile:
    """One cell of the first table: a score, its verdict and what a reader must know beside it."""

    cell: Cell
    verdict: str
    mark: str
    score: str
    interval: str
    difference: str
    note: str
    links: Sequence[Link] = ()


def matrix(evidence: Evidence) -> tuple[list[str], list[tuple[str, list[Tile | None]]]]:
    """Return the evaluations, and each variant with its tile per evaluation; None where it was not asked for."""
    evaluations = list(dict.fromkeys(cell["evaluation"] for cell in evidence.cells))
    rows: dict[str, dict[str, Tile]] = {}
    for cell in evidence.cells:
        rows.setdefault(cell["variant"], {})[cell["evaluation"]] = _tile(cell, evidence)
    return evaluations, [(variant, [tiles.get(e) for e in evaluations]) for variant, tiles in rows.items()]


def _tile(cell: Cell, evidence: Evidence) -> Tile:
    verdict = verdict_of(cell, evidence.against)
    mark = MARKS.get(verdict, "")
    if verdict == "missing":
        return Tile(cell, verdict, mark, "", "", "", _why_missing(cell))
    if verdict == "error":
        return Tile(cell, verdict, mark, "", "", "", cell["error"])
    found = cell["metrics"][cell["headline"]]
    score, span = number(found["value"]), interval(found)
    row = evidence.against.get(cell["cell"])
    if row is None:
        note = (
            FROM_FILE
            if "imported" in cell
            else ""
            if verdict == "baseline"
            else "the baseline has no score to compare with"
        )
        return Tile(cell, verdict, mark, score, span, "", note)
    if "refused" in row:
        return Tile(cell, verdict, mark, score, span, "", row["refused"])
    difference = f"{signed(row['difference'])} {signed_range(row)}"
    smallest = [could_see(row)] if verdict == "undecided" else []
    notes = "; ".join([*smallest, *([FROM_FILE] if "imported" in cell else [])])
    return Tile(cell, verdict, mark, score, span, difference, notes, disagreements(row))


def _why_missing(cell: Cell) -> str:
    if "metrics" not in cell:
        return "the step failed or was not reached"
    reasons = [f"no verdicts of {judge}: {why}" for judge, why in cell.get("no_verdicts", {}).items()]
    return "; ".join(reasons) or "no output could be scored"


def comparisons(evidence: Evidence) -> Table:
    """Every comparison with its baseline, with the counts behind it."""
    rows = _differences(evidence.comparison["comparisons"])
    return Table("Differences from the baseline on the same items", _columns("baseline"), rows)


def contrasts(evidence: Evidence) -> Table:
    """Every contrast that the study declares, with the counts behind it."""
    rows = _differences(evidence.comparison["contrasts"])
    return Table("Contrasts, cell minus other on the same items", _columns("other"), rows)


def differing(evidence: Evidence) -> list[str]:
    """Return a line for each contrast with all that its cells differ in."""
    return [
        f"{row['cell']} and {row['baseline']} differ in {', '.join(row['differ_in']).replace('_', ' ')}"
        for row in evidence.comparison["contrasts"]
        if row.get("differ_in")
    ]


def _columns(other: str) -> tuple[str, ...]:
    return ("cell", other, "Δ", "95 % of Δ", "p", "p (Holm)", "test", "n", "left out", "only this right",
            f"only {other} right", "could see ≥", "items to see Δ", "verdict")  # fmt: skip


def _differences(compared: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for row in compared:
        if "refused" in row:
            rows.append([row["cell"], row["baseline"], *[None] * 11, f"{MARKS['refused']}: {row['refused']}"])
            continue
        p_values = [p_value(row["p_value"]), p_value(row["p_adjusted"]), row["test"].replace("_", " ")]
        counts = [row[k] for k in ("n", "left_out", "only_variant_right", "only_baseline_right")]
        ends = [signed(row["difference"]), signed_range(row), *p_values, *counts]
        sees = [smallest_seen(row), row["items_needed"]]
        rows.append([row["cell"], row["baseline"], *ends, *sees, MARKS[row["verdict"]]])
    return rows


def outcomes(evidence: Evidence) -> Table:
    """Counts and rates of every outcome, and how generation ended. A rate is over all outputs, scored or not."""
    columns = ("cell", "asked", "scored", "unanswered", *(o.replace("_", " ") for o in OUTCOMES), "stopped by itself",
               "output tokens")  # fmt: skip
    generated = evidence.of("generate")
    rows: list[list[Any]] = []
    for cell in evidence.scored:
        total = sum(cell["outcomes"].values())
        made: Mapping[str, Any] = generated[cell["cell"]].record.facts if cell["cell"] in generated else {}
        finish: Mapping[str, int] = made.get("finish", {})
        drawn = sum(finish.values()) - finish.get("choice", 0)
        ending = [
            share(drawn - finish.get("length", 0), drawn),
            tokens([made], "output_tokens").shown() if made else None,
        ]
        counts = [share(cell["outcomes"].get(name, 0), total) for name in OUTCOMES]
        asked = cell["n"] + cell.get("unanswered", 0)
        rows.append([cell["cell"], asked, cell["scored"], cell.get("unanswered"), *counts, *ending])
    return Table("What became of every output", columns, rows)


def share(count: int, total: int) -> str | None:
    """Write a count with its share of a total; None where the total is nothing."""
    if not total:
        return None
    return f"{count:,} ({count / total:.1%})" if count else "0"


def metrics(evidence: Evidence) -> Table:
    """All metrics side by side, the first of a task being its headline, and what a constant answer would reach."""
    names = metric_names(evidence.scored)
    rows = [
        [cell["cell"], *(_estimate(cell["metrics"].get(name)) for name in names), cell.get("majority")]
        for cell in evidence.scored
    ]
    return Table("Every metric with its 95 % interval", ("cell", *names, "majority class"), rows)


def definitions(evidence: Evidence) -> Table:
    """What the names of metrics leave open: tokens, smoothing, sentences, signatures."""
    found = {
        (cell["task"], name): metric["definition"]
        for cell in evidence.scored
        for name, metric in cell["metrics"].items()
        if "definition" in metric
    }
    rows = [[f"{task}: {name}", text] for (task, name), text in found.items()]
    return Table("How metrics are computed", ("metric", "definition"), rows)


def _estimate(found: Mapping[str, Any] | None) -> str | None:
    if found is None or found["value"] is None:
        return None
    estimate = f"{number(found['value'])} {interval(found)}"
    if "worst_case" not in found:
        return estimate
    return f"{estimate}, {number(found['worst_case'])} to {number(found['best_case'])} with the unscored"


def effects(evidence: Evidence) -> Table:
    """Factor effects: what changes when one factor does and all else stays."""
    columns = ("effect", "task", "evaluations", "meaning", "cells", "value", "95 %", "p (Holm)", "n", "could see ≥",
               "items to see it", "verdict")  # fmt: skip
    rows: list[list[Any]] = []
    for e in evidence.comparison["effects"]:
        numbers = [e["cells"], signed(e["value"]), signed_range(e), p_value(e["p_adjusted"]), e["n"]]
        sees = [smallest_seen(e), e["items_needed"]]
        where = [e["task"], ", ".join(e["evaluations"])]
        rows.append([e["effect"], *where, e["meaning"], *numbers, *sees, MARKS[e["verdict"]]])
    return Table("Effects of the factors over the trained variants, all else equal", columns, rows)


def thresholds(evidence: Evidence) -> Table:
    """Declared minimums and whether they are met, surely or not."""
    columns = ("cell", "metric", "at least", "value", "95 %", "verdict")
    rows: list[list[Any]] = []
    for t in evidence.comparison["thresholds"]:
        mark = {"pass": "✓", "fail": "✗", "missing": "○"}[t["verdict"].split()[0]]
        reach = interval(t) if "low" in t else None
        rows.append([t["cell"], t["metric"], t["at_least"], t.get("value"), reach, f"{mark} {t['verdict']}"])
    return Table("Thresholds that the study declares", columns, rows)


def denominators(evidence: Evidence) -> Table:
    """How many rows each score is about, and how many it had to be about."""
    columns = ("cell", "asked", "answered", "expected", "scored", "published rows", "what is wrong", "note")
    rows: list[list[Any]] = []
    for cell in evidence.scored:
        counts = [cell.get(name) for name in ("asked", "n", "expected", "scored", "published")]
        rows.append([cell["cell"], *counts, cell.get("error"), cell.get("note")])
    return Table("Denominators: the n that was asked, answered and expected", columns, rows)


def even_denominators(table: Table) -> str:
    """Return one line where every score is about all rows that were asked, as expected; empty where one is not."""
    if not table.rows or any(len({n for n in row[1:5] if n is not None}) > 1 or any(row[6:]) for row in table.rows):
        return ""
    ns = sorted({row[1] for row in table.rows})
    n = f"{ns[0]:,}" if len(ns) == 1 else f"{ns[0]:,} to {ns[-1]:,}"
    where = f"in each of {len(table.rows)} cells" if len(table.rows) > 1 else "in the one cell that there is"
    return f"Every output that was asked for was answered and scored, {where}: n = {n}."


def training(evidence: Evidence) -> Table:
    """What each training did."""
    columns = ("variant", "steps", "final loss", "rows", "left out as too long", "tokens a pass",
               "supervised tokens a pass", "longest row", "seconds", "CPU seconds", "attempts",
               "initial adapter")  # fmt: skip
    rows: list[list[Any]] = []
    for name, artifact in evidence.of("train").items():
        record, facts = artifact.record, artifact.record.facts
        receipt: Mapping[str, Any] = facts.get("receipt", {})
        counts = [receipt.get(k) for k in ("rows", "too_long", "tokens", "supervised_tokens", "longest")]
        costs = [record.seconds, record.cpu_seconds, record.attempts, short(facts.get("initial_adapter_sha256"))]
        rows.append([name, facts.get("steps"), facts.get("final_loss"), *counts, *costs])
    return Table("What each training did and what it took", columns, rows)


def settings(evidence: Evidence) -> Table:
    """The settings in which the trained variants differ; what is equal in all of them is left out."""
    flat = {name: flatten(artifact.record.settings) for name, artifact in evidence.of("train").items()}
    differing = [row for row in _by_setting(flat) if len(set(row[1:])) > 1]
    return Table("Settings that differ between trained variants", ("setting", *flat), differing)


def all_settings(evidence: Evidence) -> Table:
    """Every setting of every variant; of an untouched model only which model it is."""
    generated = evidence.of("generate")
    models = {c["variant"]: generated[c["cell"]].record.settings for c in evidence.cells if c["cell"] in generated}
    known = {name: a.record.settings for kind in ("adopt", "train") for name, a in evidence.of(kind).items()}
    untouched = {name: {"model": found.get("model", {})} for name, found in models.items() if name not in known}
    flat = {name: flatten(found) for name, found in {**untouched, **known}.items()}
    return Table("Every setting of every variant", ("setting", *flat), _by_setting(flat))


def _by_setting(flat: Mapping[str, Mapping[str, str]]) -> list[list[str | None]]:
    """Return a row a setting: its name, and its value in each variant, None where it has none."""
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    return [[key, *(values.get(key) for values in flat.values())] for key in keys]


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings under dotted keys, their values written exactly."""
    flat: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            flat |= flatten(item, f"{prefix}{key}.")
        else:
            flat[prefix + key] = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
    return flat
