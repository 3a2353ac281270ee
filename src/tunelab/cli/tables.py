"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

MARKS = {"better": "[green]▲ better[/]", "worse": "[red]▼ worse[/]", "undecided": "[yellow]? undecided[/]"}


def print_comparison(console: Console, comparison: Mapping[str, Any], question: str) -> None:
    """Print the cells with intervals and verdicts, then the effects."""
    console.print(f"\n[bold]{escape(question)}[/]")
    console.print(_cells(comparison))
    if comparison["effects"]:
        console.print(_effects(comparison))
    for cell in comparison["holes"]:
        console.print(f"[red]hole:[/] {escape(cell)} has no result")
    for row in comparison["comparisons"]:
        if "refused" in row:
            console.print(f"[red]not compared:[/] {escape(row['cell'])}: {escape(row['refused'])}")


def _cells(comparison: Mapping[str, Any]) -> Table:
    table = Table(title="Score with 95 % interval, difference from the baseline on the same items")
    for name in ("variant", "evaluation", "metric"):
        table.add_column(name)
    for name in ("score", "95 %", "n", "Δ baseline", "95 % of Δ", "p (Holm)"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    against = {row["cell"]: row for row in comparison["comparisons"] if "refused" not in row}
    for cell in comparison["cells"]:
        table.add_row(*_cell_row(cell, against.get(cell["cell"])))
    return table


def _cell_row(cell: Mapping[str, Any], against: Mapping[str, Any] | None) -> list[str]:
    found = cell["metrics"][cell["headline"]]
    label = escape(cell["evaluation"]) + (" [dim](mismatched)[/]" if cell["matched"] is False else "")
    row = [escape(cell["variant"]), label, cell["headline"], number(found["value"]), span(found), str(cell["scored"])]
    if against is None:
        return [*row, "", "", "", "[dim]baseline[/]" if cell["baseline"] is None else ""]
    difference = f"{against['difference']:+.3f}"
    verdict = MARKS[against["verdict"]]
    if against["verdict"] == "undecided":
        verdict += f" [dim](could see ≥ {against['minimum_detectable_effect']:.3f})[/]"
    return [*row, difference, span(against, signed=True), f"{against['p_adjusted']:.2g}", verdict]


def _effects(comparison: Mapping[str, Any]) -> Table:
    table = Table(title="Effects of the factors, all else equal, on the same items")
    table.add_column("effect")
    for name in ("value", "95 %", "p (Holm)"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict")
    for row in comparison["effects"]:
        values = [f"{row['value']:+.3f}", span(row, signed=True), f"{row['p_adjusted']:.2g}"]
        table.add_row(escape(row["effect"]), *values, row["verdict"])
    return table


def number(value: float | None) -> str:
    """Write a score, or a dash where there is none."""
    return "—" if value is None else f"{value:.3f}"


def span(row: Mapping[str, Any], signed: bool = False) -> str:
    """Write an interval."""
    if row["low"] is None:
        return "—"
    sign = "+" if signed else ""
    return f"{row['low']:{sign}.3f} … {row['high']:{sign}.3f}"
