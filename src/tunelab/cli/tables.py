"""Tables on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tunelab.cli.over_seeds import print_over_seeds, sees
from tunelab.report.wording import TOO_FEW, judged
from tunelab.visible import visible

MARKS = {
    "better": "[green]▲ better[/]",
    "worse": "[red]▼ worse[/]",
    "undecided": "[yellow]? undecided[/]",
    "missing": "[red]○ missing[/]",
    "error": "[red]✗ wrong n[/]",
}
LOG_WIDTH = 140
WIDE = 110


class Screen(Console):
    """A console on which no text acts: every string that is printed, in a table or alone, is made visible."""

    def render_str(self, text: str, **style: Any) -> Text:
        """Render a string with its markup."""
        return super().render_str(visible(text), **style)


def console() -> Console:
    """Return a console as wide as the terminal, or wide enough for the tables in a log."""
    return Screen(width=None if sys.stdout is not None and sys.stdout.isatty() else LOG_WIDTH, highlight=False)


def print_comparison(out: Console, comparison: Mapping[str, Any], question: str, answer: str = "") -> None:
    """Print a report's first screen: question and answer, cells with intervals and verdicts, effects, what is missing.

    ``answer`` is the report's sentence, empty where there is no report.
    """
    out.print(f"\n[bold]{escape(question)}[/]\n")
    if answer:
        out.print(f"{escape(answer)}\n", highlight=False)
    out.print(_cells(comparison, narrow=out.width < WIDE))
    if comparison["contrasts"]:
        out.print(_contrasts(comparison, narrow=out.width < WIDE))
    compared = [*comparison["comparisons"], *comparison["contrasts"]]
    undecided = [row["minimum_detectable_effect"] for row in compared if row.get("verdict") == "undecided"]
    if any(smallest is not None for smallest in undecided):
        out.print("undecided (sees x): a difference of x would have been found in 80 of 100 such studies")
    if None in undecided:
        out.print(f"undecided (sees {sees(None)}): {TOO_FEW}")
    print_over_seeds(out, comparison, MARKS)
    if any(cell["matched"] is False for cell in comparison["cells"]):
        out.print("≠ evaluated in another format than it was trained in")
    if comparison["effects"]:
        out.print(_effects(comparison))
    for row in comparison["thresholds"]:
        out.print(escape(f"threshold: {row['cell']} {row['metric']} at least {row['at_least']}: {judged(row)}"))
    for what, about in _not_there(comparison):
        out.print(f"[red]{what}:[/] {escape(about)}")


def _not_there(comparison: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong or missing: denominators, cells, verdicts of judges, comparisons."""
    yield from (("error", line) for line in wrong_denominators(comparison))
    yield from (("hole", f"{cell} has no result") for cell in comparison["holes"])
    for cell in comparison["cells"]:
        for judge, why in cell.get("no_verdicts", {}).items():
            yield "missing", f"{cell['cell']} has no verdicts of {judge}: {why}"
    compared = (*comparison["comparisons"], *comparison["contrasts"])
    yield from (
        ("not compared", f"{row['cell']} with {row['baseline']}: {row['refused']}")
        for row in compared
        if "refused" in row
    )


def wrong_denominators(comparison: Mapping[str, Any]) -> list[str]:
    """Return a line for each cell whose n is not what it had to be."""
    return [f"{cell['cell']}: {cell['error']}" for cell in comparison["cells"] if "error" in cell]


def _cells(comparison: Mapping[str, Any], narrow: bool) -> Table:
    """The cells: seven columns, or the four that matter with values over their intervals on a narrow terminal."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    columns = ("variant", "evaluation", "score (95 %)", "against the baseline (95 %)", "p (Holm)", "verdict", "n")
    for name in ("cell", "score (95 %)", "against the baseline", "verdict") if narrow else columns:
        table.add_column(name, **_fit(name), justify="right" if name in ("p (Holm)", "n") else "left")
    against = {row["cell"]: row for row in comparison["comparisons"] if "refused" not in row}
    for cell in comparison["cells"]:
        variant, evaluation, score, difference, p, verdict, n = _cell_row(cell, against.get(cell["cell"]))
        if narrow:
            over = (entry.replace(" (", "\n(") for entry in (score, difference, verdict))
            table.add_row(f"{variant}\n  {evaluation}", *over)
        else:
            table.add_row(variant, evaluation, score, difference, p, verdict, n)
    return table


def _fit(column: str) -> dict[str, Any]:
    """Fold long names where the width is short; a number that is cut off is another number."""
    return {"overflow": "fold"} if column in ("variant", "evaluation", "cell") else {"no_wrap": True}


def _cell_row(cell: Mapping[str, Any], against: Mapping[str, Any] | None) -> tuple[str, ...]:
    found = cell["metrics"][cell["headline"]]
    label = escape(cell["evaluation"]) + (" ≠" if cell["matched"] is False else "")
    if found["value"] is None:
        row = (escape(cell["variant"]), label, number(None))
        return (*row, "", "", MARKS["error" if "error" in cell else "missing"], str(cell["scored"]))
    row = (escape(cell["variant"]), label, f"{number(found['value'])} ({span(found)})")
    if against is None:
        return (*row, "", "", "baseline" if cell["baseline"] is None else "", str(cell["scored"]))
    return (*row, *_difference(against), str(cell["scored"]))


def _difference(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Write a difference with its interval, its corrected p-value and its verdict."""
    verdict = MARKS[row["verdict"]]
    if row["verdict"] == "undecided":
        verdict += f" (sees {sees(row['minimum_detectable_effect'])})"
    return f"{row['difference']:+.3f} ({span(row)})", f"{row['p_adjusted']:.2g}", verdict


def _contrasts(comparison: Mapping[str, Any], narrow: bool) -> Table:
    """The contrasts that the study declares; those that could not be taken are named below."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("contrast", overflow="fold")
    for name in ("difference", "verdict") if narrow else ("difference (95 %)", "p (Holm)", "verdict", "n"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("p (Holm)", "n") else "left")
    for row in comparison["contrasts"]:
        if "refused" not in row:
            difference, p, verdict = _difference(row)
            one, other = escape(row["cell"]), escape(row["baseline"])
            if narrow:
                table.add_row(f"{one}\n− {other}", *(entry.replace(" (", "\n(") for entry in (difference, verdict)))
            else:
                table.add_row(f"{one} − {other}", difference, p, verdict, str(row["n"]))
    return table


def _effects(comparison: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("effect, all else equal")
    table.add_column("on")
    table.add_column("value (95 %)", no_wrap=True)
    table.add_column("p (Holm)", justify="right", no_wrap=True)
    table.add_column("verdict")
    for row in comparison["effects"]:
        value = f"{row['value']:+.3f} ({span(row)})"
        on = escape(", ".join(row["evaluations"]))
        table.add_row(escape(row["effect"]), on, value, f"{row['p_adjusted']:.2g}", row["verdict"])
    return table


def number(value: float | None) -> str:
    """Write a score, or a dash where there is none."""
    return "—" if value is None else f"{value:.3f}"


def span(row: Mapping[str, Any]) -> str:
    """Write an interval."""
    return "" if row["low"] is None else f"{row['low']:.3f} … {row['high']:.3f}"
