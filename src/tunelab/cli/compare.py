"""``tunelab compare``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from tunelab.cli.options import RESULTS, Json, ResultsDir
from tunelab.cli.tables import MARKS, console, number, sees, span
from tunelab.errors import StudyError
from tunelab.report.wording import counted, p_value, signed, signed_range
from tunelab.study.file_cell import cell_of_file
from tunelab.study.located import Located, locate
from tunelab.study.side_by_side import side_by_side

SHOWN = 20
"""Differences of settings that are printed; --json has all."""
CELL = "STUDY/VARIANT/EVALUATION, the folder of a cell under results, or a file of outputs."


def command(
    one: Annotated[str, typer.Argument(metavar="CELL", help=CELL)],
    other: Annotated[str, typer.Argument(metavar="CELL", help="The cell that is subtracted from the first.")],
    alpha: Annotated[float, typer.Option("--alpha", help="Significance level of the verdict.")] = 0.05,
    as_json: Json = False,
    results: ResultsDir = RESULTS,
) -> None:
    """Example: tunelab compare quickstart/sft_chat/chat quickstart/base/chat"""
    if not 0 < alpha < 1:
        raise StudyError(f"--alpha: got {alpha}, expected a level between 0 and 1, like 0.05")
    with TemporaryDirectory() as scratch:
        found = side_by_side(*_sides(one, other, results, Path(scratch)), alpha)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        _print(console(), found)
    sys.exit(1 if "refused" in found else 0)


def _sides(one: str, other: str, results: Path, scratch: Path) -> tuple[Located, Located]:
    """Find both cells; a file is scored on the rows of the other one."""
    files = [Path(name).is_file() for name in (one, other)]
    if all(files):
        raise StudyError(f"cell: got two files, {one} and {other}, expected a cell of a study to compare one with")
    if files[0]:
        like = locate(other, results)
        return cell_of_file(Path(one), like, scratch), like
    like = locate(one, results)
    return like, cell_of_file(Path(other), like, scratch) if files[1] else locate(other, results)


def _print(out: Console, found: Mapping[str, Any]) -> None:
    """Print both scores, what lies between them, and what the two differ in."""
    out.print(f"\n[bold]{escape(found['cell'])} − {escape(found['baseline'])}[/]  {escape(found['task'])}\n")
    for score in found["scores"].values():
        out.print(
            f"  {escape(score['cell'])}: {found['metric']} {number(score['value'])} ({span(score)}), n = {score['n']}"
        )
    if "refused" in found:
        out.print(f"\n[red]not compared:[/] {escape(found['refused'])}")
    else:
        _print_difference(out, found)
    if not found["differ_in"]:
        out.print("\nThey were made by the same steps: nothing in their settings differs.")
    _print_fields(out, "They differ in:", found["differ_in"])
    _print_fields(out, "Made with other:", found["run_differs_in"])


def _print_difference(out: Console, found: Mapping[str, Any]) -> None:
    out.print(
        f"\n  difference {signed(found['difference'])}, 95 % {signed_range(found)}, on {counted(found['n'], 'item')}"
    )
    if found["left_out"]:
        are = "is" if found["left_out"] == 1 else "are"
        out.print(f"  {counted(found['left_out'], 'item')} {are} left out: one side has no value of them")
    right = f"only the first right {found['only_variant_right']}, only the second {found['only_baseline_right']}"
    out.print(f"  {right}; p {p_value(found['p_value'])} ({found['test'].replace('_', ' ')})")
    smallest = found["minimum_detectable_effect"]
    out.print(f"  smallest difference that 80 of 100 such comparisons find: {sees(smallest)}")
    out.print(f"  verdict: {MARKS[found['verdict']]}")


def _print_fields(out: Console, title: str, fields: Sequence[Mapping[str, Any]]) -> None:
    if not fields:
        return
    out.print(f"\n{title}")
    for field in fields[:SHOWN]:
        first, second = (_value(field[side]) for side in ("first", "second"))
        out.print(f"  {escape(field['field'])}: {escape(first)} → {escape(second)}", soft_wrap=True)
    if len(fields) > SHOWN:
        out.print(f"  and {len(fields) - SHOWN} more; --json has all")


def _value(value: Any) -> str:
    return "absent" if value is None else json.dumps(value, ensure_ascii=False)
