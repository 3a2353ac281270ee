"""The file itself: what the page must know at once, the chunks, the style and the script that it may run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tunelab.report import tables
from tunelab.report.cells import OUTCOMES
from tunelab.report.evidence import Evidence
from tunelab.report.explorer.collect import CHUNK, collect
from tunelab.report.explorer.packed import Packed
from tunelab.report.page import environment
from tunelab.report.wording import MARKS, interval, number, p_value, signed, signed_range
from tunelab.study.layout import eval_folder
from tunelab.study.steps.answers import OUTPUTS
from tunelab.visible import JOINERS, RANGES

PAGE = "samples.html"
SCRIPTS = ("text", "difference", "data", "state", "list", "detail", "main")
"""Parts of the script, in the order in which they are joined."""

Row = dict[str, Any]


def samples_page(evidence: Evidence) -> str:
    """Return the page of a study's samples; without a scored cell it says so."""
    packed = Packed()
    known_tasks, known_cells = collect(evidence, packed)
    cells = [{**cell, **_described(evidence, cell["cell"])} for cell in known_cells]
    packed.put("index", {
        "chunk": CHUNK, "tasks": known_tasks, "cells": cells, "outcomes": OUTCOMES, "pairs": _pairs(evidence),
        "start": _start(evidence, cells), "marked": RANGES, "joiners": JOINERS,
    })  # fmt: skip
    return (
        environment()
        .get_template("samples.html.j2")
        .render(
            study=evidence.study,
            script=Markup(script()),  # our own files, and the policy knows their hash
            chunks=packed.chunks,
            any_cell=bool(cells),
            outcomes=tables.outcomes(evidence),
            comparisons=tables.comparisons(evidence),
        )
    )


@cache
def script() -> str:
    """Return the page's script: its parts in one scope, so that it sets nothing global."""
    folder = files("tunelab.report") / "templates"
    parts = [(folder / f"samples_{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    return "(() => {\n'use strict';\n" + "\n".join(parts) + "})();\n"


def _described(evidence: Evidence, name: str) -> Row:
    """Return what the page says of a cell: its score, and where its outputs lie uncut."""
    cell: Mapping[str, Any] = next((cell for cell in evidence.scored if cell["cell"] == name), {})
    if not cell:
        return {"score": "", "whole": OUTPUTS, "headline": ""}
    found = cell["metrics"][cell["headline"]]
    whole = eval_folder(Path(), cell["variant"], cell["evaluation"]) / OUTPUTS
    return {"score": f"{number(found['value'])} {interval(found)}", "whole": str(whole), "headline": cell["headline"]}


def _pairs(evidence: Evidence) -> list[Row]:
    """Return what the comparison says of two cells, in words."""
    compared = [*evidence.comparison["comparisons"], *evidence.comparison["contrasts"]]
    return [{"a": row["cell"], "b": row["baseline"], "said": _said(row)} for row in compared]


def _said(row: Mapping[str, Any]) -> str:
    if "refused" in row:
        return f"{MARKS['refused']}: {row['refused']}"
    found = f"{signed(row['difference'])} {signed_range(row)}, p (Holm) {p_value(row['p_adjusted'])}, n = {row['n']:,}"
    return f"{found}, {MARKS[row['verdict']]}"


def _start(evidence: Evidence, cells: Sequence[Row]) -> list[str | None]:
    """Return the pair that is shown at first: the first compared cell with its baseline, else what there is."""
    compared = [[row["cell"], row["baseline"]] for row in evidence.comparison["comparisons"] if "refused" not in row]
    there = {cell["cell"] for cell in cells}
    alike = [cell["cell"] for cell in cells if cell["task"] == cells[0]["task"]]
    return next((pair for pair in compared if set(pair) <= there), [*alike[:2], None, None][:2])
