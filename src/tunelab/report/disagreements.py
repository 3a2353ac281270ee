"""Links to the samples on which two cells disagree.

``samples.html`` lies beside the page and opens with the pair that its fragment names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

SAMPLES = "samples.html"


@dataclass(frozen=True)
class Link:
    """What a link says, and where it leads; empty where there is nothing to see."""

    text: str
    href: str


def samples_href(a: str, b: str, show: str) -> str:
    """Return the address of two cells' samples; ``show`` is only_a, only_b, both, neither or all."""
    return f"{SAMPLES}#a={quote(a, safe='')}&b={quote(b, safe='')}&show={show}"


def disagreements(row: Mapping[str, Any], other: str = "the baseline") -> list[Link]:
    """Return the counts of a comparison's samples on which one side is right, or scores higher, with their links."""
    if not row["only_variant_right"] and not row["only_baseline_right"]:
        return [Link("no sample differs", "")]
    binary = row["test"] == "mcnemar_exact"
    this, that = ("only this right", f"only {other}") if binary else ("higher here", f"higher in {other}")
    counts = ((row["only_variant_right"], this, "only_a"), (row["only_baseline_right"], that, "only_b"))
    return [
        Link(f"{count:,} {text}", samples_href(row["cell"], row["baseline"], show) if count else "")
        for count, text, show in counts
    ]
