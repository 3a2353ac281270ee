"""How every figure looks: colours that colour-blind readers can tell apart, and never colour alone.

Figures are made as objects, without pyplot and its global state, and are saved so that equal data gives equal
files: no dates, no random ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tunelab.visible import visible

# Okabe & Ito 2008, without yellow, which is faint on white.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
HATCHES = ("", "///", "...", "xx", "\\\\\\", "--", "++")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h")
LINES = ("-", "--", "-.", ":")
INK, GRID = "#222222", "#DDDDDD"
LONGEST = 44
DPI = 150


@dataclass(frozen=True)
class Picture:
    """A figure with its words, or the reason why there is none."""

    name: str
    title: str
    alt: str
    """Replaces the figure for those who cannot see it."""
    figure: Figure | None
    note: str = ""
    """One sentence on how to read it."""


def new_figure(
    width: float, height: float, panels: int = 1, across: int = 1, heights: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """Return a figure of so many inches with its panels, so many beside each other and the others below.

    ``heights`` are the shares of the lines of panels; by default all are equally high.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    grid: Any = figure.subplots(-(-panels // across), across, squeeze=False, height_ratios=heights)
    for spare in grid.flat[panels:]:
        figure.delaxes(spare)
    return figure, [_plain(axes) for axes in grid.flat[:panels]]


def _plain(axes: Axes) -> Axes:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#888888")
    axes.tick_params(colors=INK, labelsize=9)
    axes.set_axisbelow(True)
    return axes


def label(text: str) -> str:
    """Return text as matplotlib should show it: shortened, no mathematics, never hidden from a legend."""
    shown = visible(text)
    cut = shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"
    return (f" {cut}" if cut.startswith("_") else cut).replace("$", r"\$")


def legend(axes: Axes, title: str | None = None) -> None:
    """Put the legend beside the panel, where it covers nothing."""
    axes.legend(title=title, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9, title_fontsize=9)


def errors(rows: Sequence[Any]) -> list[list[float]]:
    """Return the distances from values to interval ends, below and above, never negative."""
    below = [max(row["value"] - row["low"], 0.0) for row in rows]
    return [below, [max(row["high"] - row["value"], 0.0) for row in rows]]


def save(picture: Picture, directory: Path) -> None:
    """Write ``<name>.png`` and ``<name>.svg``."""
    if picture.figure is None:
        return
    with matplotlib.rc_context({"svg.hashsalt": "tunelab", "svg.fonttype": "path"}):
        picture.figure.set_dpi(DPI)
        _lay_out(picture.figure)
        FigureCanvasAgg(picture.figure).print_png(directory / f"{picture.name}.png")
        FigureCanvasSVG(picture.figure).print_svg(directory / f"{picture.name}.svg", metadata={"Date": None})


def _lay_out(figure: Figure) -> None:
    """Place everything once; ``savefig`` would draw each file twice to do so."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
