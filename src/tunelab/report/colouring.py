"""Coloured matrices: changes against a baseline, with the number in every field, so that colour only underlines."""

from __future__ import annotations

from collections.abc import Sequence
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


def coloured(axes: Axes, rows: Sequence[str], columns: Sequence[str], fields: Sequence[Sequence[Field]]) -> None:
    """Draw a matrix of fields, the first row on top, colours symmetric about no change."""
    changes = np.array([[np.nan if f.change is None else f.change for f in line] for line in fields], dtype=float)
    reach = float(np.nanmax(np.abs(changes))) if np.isfinite(changes).any() else 0.0
    colours = colormaps[MAP].copy()
    colours.set_bad(NOWHERE)
    axes.imshow(np.ma.masked_invalid(-changes), cmap=colours, vmin=-(reach or 1), vmax=reach or 1, aspect="auto")
    for y, line in enumerate(fields):
        for x, field in enumerate(line):
            dark = field.change is not None and reach > 0 and abs(field.change) > 0.7 * reach
            axes.text(x, y, field.text, ha="center", va="center", fontsize=7.5, color="white" if dark else INK)
    axes.set_xticks(range(len(columns)), [label(name) for name in columns], rotation=25, ha="right")
    axes.set_yticks(range(len(rows)), [label(name) for name in rows])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
