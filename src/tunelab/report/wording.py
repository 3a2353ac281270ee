"""Numbers and verdicts as a person reads them: the page, the Markdown and the answer write them alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DASH = "—"
TOO_FEW = "so few items can show no difference"
"""What stands in the place of the smallest difference that could have been seen, where none could."""
MARKS = {
    "better": "▲ better",
    "worse": "▼ worse",
    "positive": "▲ positive",
    "negative": "▼ negative",
    "undecided": "? undecided",
    "refused": "× not compared",
    "missing": "○ no result",
    "error": "✗ wrong n",
    "baseline": "· baseline",
}
"""A verdict is a word and a sign, so that it can be read without colour."""


def number(value: float | None) -> str:
    """Write a score with three decimals; a dash where there is none."""
    return DASH if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    """Write a difference with its sign."""
    return DASH if value is None else f"{value:+.3f}"


def interval(row: Mapping[str, Any]) -> str:
    """Write the interval of a score."""
    return DASH if row["low"] is None else f"[{row['low']:.3f}, {row['high']:.3f}]"


def signed_range(row: Mapping[str, Any]) -> str:
    """Write the interval of a difference."""
    return DASH if row["low"] is None else f"[{row['low']:+.3f}, {row['high']:+.3f}]"


def judged(row: Mapping[str, Any]) -> str:
    """Write a threshold's verdict with how far the interval reaches; without a value there is none."""
    if "low" not in row:
        return str(row["verdict"])
    return f"{row['verdict']}: {number(row['value'])}, the interval reaches from {row['low']:.3f} to {row['high']:.3f}"


def p_value(value: float) -> str:
    """Write a p-value with two digits; very small ones as a bound."""
    return "< 0.0001" if value < 0.0001 else f"{value:.2g}"


def show(value: Any) -> str:
    """Write any value of a table: numbers below 10 keep three decimals, counts get thousands separators."""
    if value is None or value == "":
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _decimal(value)
    return str(value)


def _decimal(value: float) -> str:
    if 0 < abs(value) < 0.001:
        return f"{value:.2g}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def short(digest: str | None) -> str:
    """Return the first 12 digits of a fingerprint or hash."""
    return DASH if digest is None else digest[:12]


def listing(names: Sequence[str]) -> str:
    """Join names as a sentence does."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def could_see(row: Mapping[str, Any]) -> str:
    """Write the smallest difference that could have been seen; there is none on too few items."""
    smallest = row["minimum_detectable_effect"]
    return TOO_FEW if smallest is None else f"could see ≥ {number(smallest)}"


def could_see_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write in a sentence what could have been seen in all of several comparisons."""
    smallest = [row["minimum_detectable_effect"] for row in rows]
    return TOO_FEW if None in smallest else f"could see {number(max(smallest))} or more"


def smallest_seen(row: Mapping[str, Any]) -> float | str:
    """Return what stands in a column of smallest differences: a number, or that there is none."""
    smallest = row["minimum_detectable_effect"]
    return "none: too few items" if smallest is None else smallest


def counted(n: int, word: str, several: str = "") -> str:
    """Write how many there are of something: "1 cell", "2 cells"; ``several`` is a plural that takes no -s."""
    return f"{n:,} {word if n == 1 else several or f'{word}s'}"


def would_take(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write how many items the observed effects need; empty unless that is more than there were.

    It may be fewer: Holm's correction asks for more, and 80 studies of 100 show what this one did not.
    """
    more = sorted(row["items_needed"] for row in rows if (row["items_needed"] or 0) > row["n"])
    if not more:
        return ""
    return f", would take {more[0]:,} items" + (" or more" if len(more) > 1 else "")
