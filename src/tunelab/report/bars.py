"""Bars: every cell's headline score with its interval, one panel per task and metric."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from tunelab.report.drawing import COLOURS, GRID, HATCHES, INK, Picture, errors, label, legend, new_figure
from tunelab.report.evidence import Cell

ERROR_BARS = {"ecolor": INK, "capsize": 3, "elinewidth": 1.2}
ALT = "Bars with 95 % intervals. {}"


def accuracy_bar(cells: Sequence[Cell]) -> Picture:
    """All cells below each other."""
    title = "Every cell's score with its 95 % interval"
    panels = _panels(cells)
    if not panels:
        return Picture("accuracy_bar", title, "No cell has a score.", None)
    figure, axes = new_figure(9, min(0.4 * len(cells) + 1.1 * len(panels), 60), len(panels))
    for panel, (name, group) in zip(axes, panels.items(), strict=True):
        _horizontal(panel, name, group, evaluations(cells))
    return Picture("accuracy_bar", title, ALT.format(_in_words(cells)), figure)


def accuracy_grouped(cells: Sequence[Cell]) -> Picture:
    """A group of bars per variant, a colour and hatch per evaluation."""
    title = "Scores by variant and evaluation"
    panels = _panels(cells)
    if not panels:
        return Picture("accuracy_grouped", title, "No cell has a score.", None)
    widest = max(len({c["variant"] for c in group}) for group in panels.values())
    figure, axes = new_figure(min(max(8, 1.5 * widest + 3), 40), 4.2 * len(panels), len(panels))
    for panel, (name, group) in zip(axes, panels.items(), strict=True):
        _vertical(panel, name, group, evaluations(cells))
    return Picture("accuracy_grouped", title, ALT.format(_in_words(cells)), figure)


def evaluations(cells: Sequence[Cell]) -> dict[str, str]:
    """Map each evaluation to what the legend calls it."""
    named: dict[str, str] = {}
    for cell in cells:
        name, fmt = cell["evaluation"], cell["factors"]["eval_format"]
        named.setdefault(name, name if name == fmt else f"{name} ({fmt})")
    return named


def _panels(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    panels: defaultdict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell["metrics"][cell["headline"]]["value"] is not None:
            panels[f"{cell['task']}: {cell['headline']}"].append(cell)
    return dict(panels)


def _horizontal(axes: Axes, name: str, cells: Sequence[Cell], known: dict[str, str]) -> None:
    found = [cell["metrics"][cell["headline"]] for cell in cells]
    for style, (evaluation, shown) in enumerate(known.items()):
        rows = [i for i, cell in enumerate(cells) if cell["evaluation"] == evaluation]
        if rows:
            chosen = [found[i] for i in rows]
            axes.barh(rows, [f["value"] for f in chosen], xerr=errors(chosen), label=label(shown), **_style(style))
    for i, row in enumerate(found):
        axes.annotate(f"{row['value']:.3f}", (row["high"], i), (6, 0), textcoords="offset points", va="center", size=8)
    axes.set_yticks(range(len(cells)), [_cell_label(cell) for cell in cells])
    axes.invert_yaxis()
    axes.set_xlabel(label(name))
    axes.grid(axis="x", color=GRID)
    axes.margins(x=0.12)
    axes.set_xlim(left=min(0.0, *(f["low"] for f in found)))
    legend(axes, "evaluated under")


def _vertical(axes: Axes, name: str, cells: Sequence[Cell], known: dict[str, str]) -> None:
    variants = list(dict.fromkeys(cell["variant"] for cell in cells))
    present = [name for name in known if any(cell["evaluation"] == name for cell in cells)]
    width = 0.8 / len(present)
    for slot, evaluation in enumerate(present):
        chosen = [cell for cell in cells if cell["evaluation"] == evaluation]
        found = [cell["metrics"][cell["headline"]] for cell in chosen]
        places = [variants.index(c["variant"]) + (slot - (len(present) - 1) / 2) * width for c in chosen]
        values = [f["value"] for f in found]
        style = _style(list(known).index(evaluation))
        axes.bar(places, values, width * 0.94, yerr=errors(found), label=label(known[evaluation]), **style)
        for place, cell, row in zip(places, chosen, found, strict=True):
            if cell["matched"] is False:
                axes.annotate("≠", (place, row["high"]), (0, 3), textcoords="offset points", ha="center", size=9)
    turned: dict[str, Any] = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"} if len(variants) > 4 else {}
    axes.set_xticks(range(len(variants)), [label(v) for v in variants], **turned)
    axes.set_ylabel(label(name))
    axes.grid(axis="y", color=GRID)
    axes.set_ylim(bottom=min(0.0, *(c["metrics"][c["headline"]]["low"] for c in cells)))
    legend(axes, "evaluated under" + ("\n(≠: trained in another)" if any(c["matched"] is False for c in cells) else ""))


def _style(index: int) -> dict[str, Any]:
    colour, hatch = COLOURS[index % len(COLOURS)], HATCHES[index % len(HATCHES)]
    return {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.8, "error_kw": ERROR_BARS}


def _cell_label(cell: Cell) -> str:
    return label(f"{cell['variant']} · {cell['evaluation']}") + (" ≠" if cell["matched"] is False else "")


def _in_words(cells: Sequence[Cell]) -> str:
    rows = [(cell, cell["metrics"][cell["headline"]]) for cell in cells]
    return "; ".join(
        f"{cell['variant']} under {cell['evaluation']}: {f['value']:.3f} from {f['low']:.3f} to {f['high']:.3f}"
        for cell, f in rows
        if f["value"] is not None
    )
