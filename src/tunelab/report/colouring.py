"""Coloured matrices: changes against a baseline, with the number in every field, so that colour only underlines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

from tunelab.report.drawing import INK, label

MAP = "PuOr"
"""Diverging, and told apart by colour-blind readers: orange is worse, purple is better."""
NOWHERE = "#F4F4F4"


@dataclass(frozen=True)
class Field:
    """A field of a matrix: what is written in it and what colours it; None colours nothing."""

    text: str
    change: float | None


def reach(fields: Iterable[Field]) -> float:
    """Return the largest change, up or down: what the strongest colour stands for, in all panels of a figure."""
    return max((abs(f.change) for f in fields if f.change is not None), default=0.0)


def coloured(
    axes: Axes, rows: Sequence[str], columns: Sequence[str], fields: Sequence[Sequence[Field]], strongest: float
) -> None:
    """Draw a matrix of fields, the first row on top, colours symmetric about no change up to the strongest."""
    changes = np.array([[np.nan if f.change is None else f.change for f in line] for line in fields], dtype=float)
    colours = colormaps[MAP].with_extremes(bad=NOWHERE)
    axes.imshow(np.ma.masked_invalid(changes), cmap=colours, vmin=-(strongest or 1), vmax=strongest or 1, aspect="auto")
    for y, line in enumerate(fields):
        for x, field in enumerate(line):
            dark = field.change is not None and strongest > 0 and abs(field.change) > 0.7 * strongest
            axes.text(x, y, field.text, ha="center", va="center", fontsize=7.5, color="white" if dark else INK)
    axes.set_xticks(range(len(columns)), [label(name) for name in columns], rotation=25, ha="right")
    axes.set_yticks(range(len(rows)), [label(name) for name in rows])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
