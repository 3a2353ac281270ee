"""Figures of a task's statistics: lengths as histogram and cumulative share, and bars of distributions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from tunelab.report.drawing import COLOURS, GRID, INK, LINES, MARKERS, Picture, label, legend, new_figure

MOST = 20
"""Bars of a figure; the table has every value."""
GROUPS = 14
"""Groups whose lengths a figure and the page show; ``lengths.csv`` has all. More do not fit into a legend."""
NOT_IN_NAMES = re.compile(r"[^\w.-]+", re.ASCII)
Line = Mapping[str, Any]


def draw(stats: Line) -> list[Picture]:
    """Draw lengths that differ, distributions of more than one value, and places of the right answer."""
    texts = dict.fromkeys(line["text"] for line in stats["lengths"])
    lengths = [_lengths(stats, text) for text in texts]
    bars = [_bars(name, values) for name, values in stats["distributions"].items() if len(values) > 1]
    places = [_places(stats["places"]["places"])] if stats["places"] else []
    return [*(picture for picture in lengths if picture is not None), *bars, *places]


def largest(lines: Sequence[Line]) -> list[Line]:
    """Return the lengths of all rows and, of each text and unit, those of the groups with most rows, in their order."""
    found: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        if line["by"] is not None:
            found.setdefault((line["text"], line["unit"]), []).append(line)
    kept = [id(line) for groups in found.values() for line in sorted(groups, key=_fewest_last)[:GROUPS]]
    return [line for line in lines if line["by"] is None or id(line) in kept]


def _fewest_last(line: Line) -> int:
    return -line["rows"]


def only_largest(lines: Sequence[Line]) -> str:
    """Say how many groups ``largest`` shows of how many; empty where it shows all."""
    groups = len({(line["by"], line["group"]) for line in lines if line["by"] is not None})
    return f"The {GROUPS} largest of {groups} groups; lengths.csv has all." if groups > GROUPS else ""


def _lengths(stats: Line, text: str) -> Picture | None:
    """A line of panels a unit; None where all texts are equally long."""
    every = [line for line in stats["lengths"] if line["text"] == text]
    lines = largest(every)
    units: dict[str, list[Line]] = {line["unit"]: [] for line in lines}
    for line in lines:
        units[line["unit"]].append(line)
    if all(found[0]["min"] == found[0]["max"] for found in units.values()):
        return None
    figure, axes = new_figure(12, 3.4 * len(units), 2 * len(units), across=2)
    for (unit, found), left, right in zip(units.items(), axes[::2], axes[1::2], strict=True):
        _histogram(left, found[0], stats["limits"])
        _cumulative(right, found, stats["limits"])
        name = unit if unit == "characters" else f"tokens of {unit}"
        for panel in (left, right):
            panel.set_xlabel(label(f"{text}: {name}"))
    words = "; ".join(_in_words(line) for line in lines)
    note = "Left: the 99 % shortest. Right: the share of rows up to a length. Dotted lines are the limits."
    note = f"{note} {only_largest(every)}".strip()
    return Picture(f"lengths_{text}", f"Lengths: {text}", f"Histogram and cumulative share. {words}", figure, note)


def _in_words(line: Line) -> str:
    group = "" if line["by"] is None else f" ({line['by']} {line['group']})"
    return f"{line['unit']}{group}: median {line['median']}, 99 % up to {line['p99']}, longest {line['max']}"


def _histogram(axes: Axes, line: Line, limits: Sequence[int]) -> None:
    found = line["histogram"]
    starts = np.arange(len(found["counts"])) * found["width"]
    axes.bar(starts, found["counts"], found["width"], align="edge", color=COLOURS[0], edgecolor="white", linewidth=0.4)
    axes.set_ylabel("rows")
    axes.set_xlim(0, starts[-1] + found["width"])
    axes.grid(axis="y", color=GRID)
    _mark(axes, limits)


def _cumulative(axes: Axes, lines: Sequence[Line], limits: Sequence[int]) -> None:
    """A curve a group; of several groups, the curve of all is the thick one."""
    for number, line in enumerate(lines):
        style: dict[str, Any] = {"color": INK, "linewidth": 2.2}
        if number:
            style = {
                "color": COLOURS[(number - 1) % len(COLOURS)],
                "linestyle": LINES[(number - 1) % len(LINES)],
                "marker": MARKERS[(number - 1) % len(MARKERS)],
                "markevery": (number % 10, 10),
                "markersize": 4,
                "linewidth": 1.1,
            }
        axes.plot(line["percentiles"], np.linspace(0, 1, 101), label=label(str(line["group"])), **style)
    axes.set_ylabel("share of rows")
    axes.set_ylim(0, 1.02)
    axes.set_xlim(0, max(line["p99"] for line in lines) * 1.05 + 1)
    axes.grid(color=GRID)
    _mark(axes, limits)
    if len(lines) > 1:
        legend(axes, str(lines[1]["by"]))


def _mark(axes: Axes, limits: Sequence[int]) -> None:
    """Draw the limits that lie within the panel."""
    for limit in limits:
        if limit <= axes.get_xlim()[1]:
            axes.axvline(limit, color=INK, linestyle=":", linewidth=1)
            axes.annotate(
                f"≤ {limit}", (limit, 1), (0, 3), ("data", "axes fraction"), "offset points", size=8, ha="center"
            )


def _bars(name: str, values: Sequence[Line]) -> Picture:
    shown = values[:MOST]
    figure, (axes,) = new_figure(9, 0.32 * len(shown) + 1)
    rows = [line["rows"] for line in shown]
    axes.barh(range(len(shown)), rows, color=COLOURS[0])
    for place, line in enumerate(shown):
        text = f"{line['rows']:,} ({100 * line['share']:.1f} %)"
        axes.annotate(text, (line["rows"], place), (4, 0), textcoords="offset points", va="center", size=8)
    axes.set_yticks(range(len(shown)), [label(line["value"]) for line in shown])
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set_xlabel("rows")
    axes.grid(axis="x", color=GRID)
    words = "; ".join(f"{line['value']}: {line['rows']}" for line in shown)
    note = "" if len(shown) == len(values) else f"The first {len(shown)} of {len(values)} values."
    return Picture(f"distribution_{NOT_IN_NAMES.sub('-', name)}", name, f"Bars of rows. {words}", figure, note)


def _places(lines: Sequence[Line]) -> Picture:
    figure, (axes,) = new_figure(7, 3.4)
    places = [line["place"] for line in lines]
    axes.bar(places, [line["questions"] for line in lines], 0.7, color=COLOURS[0], label="found")
    axes.scatter(places, [line["expected"] for line in lines], marker="D", color=INK, label="by chance", zorder=3)
    axes.set_xticks(places)
    axes.set_xlabel("place of the right answer")
    axes.set_ylabel("questions")
    axes.grid(axis="y", color=GRID)
    legend(axes)
    words = "; ".join(f"{line['place']}: {line['questions']} ({line['expected']:.0f} by chance)" for line in lines)
    return Picture("places", "Place of the right answer", f"Bars of questions. {words}", figure)
