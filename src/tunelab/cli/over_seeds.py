"""Recipes over seeds and the noise floor on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tunelab.report.over_seeds import decided, direction
from tunelab.report.wording import listing

COLUMNS = ("recipe", "mean (95 %)", "SD of seeds", "against the baseline (95 %)", "p (Holm)", "verdict")
NARROW = ("recipe", "mean (95 %)", "against the baseline", "verdict")
WIDE = 120
Row = Mapping[str, Any]


def print_over_seeds(out: Console, comparison: Mapping[str, Any], marks: Mapping[str, str]) -> None:
    """Print the recipes that have a mean, why others have none, and each variant that was drawn twice."""
    recipes: Sequence[Row] = comparison.get("recipes", [])
    if rows := [row for row in recipes if "value" in row]:
        out.print(_recipes(rows, marks, narrow=out.width < WIDE))
    for row in recipes:
        if "refused" in row:
            reason = escape(f"{row['recipe']}/{row['evaluation']}: {row['refused']}")
            out.print(f"[red]not compared over seeds:[/] {reason}")
    for row in comparison.get("noise", []):
        out.print(escape(f"noise floor: {row['variant']} under {listing(row['evaluations'])}: {_noise(row)}"))


def _recipes(rows: Sequence[Row], marks: Mapping[str, str], narrow: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in NARROW if narrow else COLUMNS:
        justify = "right" if name in ("SD of seeds", "p (Holm)") else "left"
        table.add_column(name, overflow="fold", no_wrap=name != "recipe", justify=justify)
    for row in rows:
        mean = f"{row['value']:.3f} ({row['low']:.3f} … {row['high']:.3f})"
        name = escape(f"{row['recipe']}/{row['evaluation']} × {len(row['seeds'])}")
        difference, p, verdict = _against(row, marks)
        if narrow:
            table.add_row(name, *(entry.replace(" (", "\n(") for entry in (mean, difference, verdict)))
        else:
            table.add_row(name, mean, f"{row['between_seed_sd']:.3f}", difference, p, verdict)
    return table


def _against(row: Row, marks: Mapping[str, str]) -> tuple[str, str, str]:
    if "verdict" not in row:
        return "", "", ""
    [found] = decided([row])
    smallest = f" (sees {sees(found['minimum_detectable_effect'])})" if found["verdict"] == "undecided" else ""
    difference = f"{found['difference']:+.3f} ({found['low']:.3f} … {found['high']:.3f})"
    return difference, f"{found['p_adjusted']:.2g}", marks[found["verdict"]] + smallest


def sees(smallest: float | None) -> str:
    """Write the smallest difference that a comparison sees; "nothing" where its items are too few for any."""
    return "nothing" if smallest is None else f"{smallest:.3f}"


def _noise(row: Row) -> str:
    if "flip_rate" not in row:
        return str(row.get("refused") or row.get("note"))
    spread = f"{row['low']:.1%} … {row['high']:.1%}"
    changed = f"{row['flip_rate']:.1%} of {row['n']} items change their score ({spread})"
    return f"{changed}, the mean by {row['change']:+.3f} ({direction(row)})"
