"""The picture of docs/performance.md: how many times as fast, by case, against peers at their best and the others.

python scripts/plot_performance.py docs/performance.json docs/images/performance.png
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from tunelab.report.drawing import COLOURS, DPI, GRID, INK, label, new_figure

BLUE, ORANGE, GREEN = COLOURS[:3]
FAINT = {"P0": ("s", ORANGE, "a peer as it comes (P0)"), "P2": ("^", GREEN, "a bare loop (P2)")}
TICKS = (1, 1.5, 2, 3, 5, 8, 12, 20, 30, 50, 80)
Line = Mapping[str, Any]


def rows(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """Return lines by benchmark and case, in the order in which they were measured."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(f"{line['bench']}  {line['case']}", []).append(line)
    return found


def draw_row(axes: Axes, y: float, lines: Sequence[Line]) -> None:
    """Draw a case: the headline with its range, aims as bars in the colour of their peer, other peers faint."""
    for line in lines:
        if line["target"] is not None:
            colour = BLUE if line["tier"] == "P1" else FAINT[line["tier"]][1]
            axes.plot(line["target"], y, "|", color=colour, markersize=17, markeredgewidth=2, zorder=2)
        if line["ratio"] is None:
            continue
        middle, low, high = line["ratio"]
        if line["tier"] == "P1":
            reach = [[middle - low], [high - middle]]
            axes.errorbar(middle, y, xerr=reach, fmt="o", color=BLUE, markersize=7, capsize=3, zorder=4)
            axes.annotate(f"{middle:.1f}", (middle, y), (0, 7), textcoords="offset points", ha="center",
                          fontsize=9, color=INK, zorder=5)  # fmt: skip
        else:
            marker, colour, _ = FAINT[line["tier"]]
            axes.plot(middle, y, marker, color=colour, markersize=6, alpha=0.55, markerfacecolor="none", zorder=3)
    if not any(line["ratio"] for line in lines):
        axes.annotate(f"void: {lines[0]['void']}", (1, y), (4, 0), textcoords="offset points", va="center",
                      fontsize=9, color=INK, alpha=0.6)  # fmt: skip


def key(axes: Axes) -> None:
    """Explain the marks below the panel."""
    marks = [
        Line2D([], [], marker="o", color=BLUE, label="a peer at its best (P1), with the range of rounds"),
        Line2D(
            [],
            [],
            marker="|",
            color=INK,
            linestyle="",
            markersize=14,
            markeredgewidth=2,
            label="what was aimed at, in the colour of its peer",
        ),
        *(
            Line2D([], [], marker=m, color=c, linestyle="", markerfacecolor="none", alpha=0.55, label=text)
            for m, c, text in FAINT.values()
        ),
    ]
    axes.legend(
        handles=marks,
        loc="upper center",
        borderaxespad=3.6,
        bbox_to_anchor=(0.32, 0),
        ncols=2,
        frameon=False,
        fontsize=9,
    )


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Write the picture."""
    cases, ratios = rows(found["lines"]), [line["ratio"] for line in found["lines"] if line["ratio"]]
    figure, (axes,) = new_figure(8, 1.6 + 0.42 * len(cases))
    for y, lines in enumerate(cases.values()):
        draw_row(axes, -y, lines)
    axes.set_yticks([-y for y in range(len(cases))], [label(name) for name in cases])
    axes.set_ylim(-len(cases) + 0.4, 0.7)
    highest = max([2.0, *(line["target"] or 1 for line in found["lines"]), *(r[2] for r in ratios)])
    axes.set_xscale("log")
    axes.set_xlim(min([0.9, *(r[1] * 0.9 for r in ratios)]), highest * 1.15)
    ticks = [tick for tick in TICKS if tick <= highest * 1.15]
    axes.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.axvline(1, color="#888888", linewidth=1, zorder=1)
    axes.grid(axis="x", color=GRID)
    small = " (smallest sizes)" if found["quick"] else ""
    axes.set_xlabel(f"times as fast in CPU time, at equal results{small}", color=INK, fontsize=9)
    key(axes)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
