"""The tree of tasks over a matrix: a line a variant, a column a node, coloured by the change against the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from tunelab.report.colouring import Field, coloured, reach
from tunelab.report.drawing import INK, Picture, label, new_figure
from tunelab.report.wording import number, signed, signed_range

NAME, TITLE = "task_tree", "Change against the baseline over the tree of tasks"
NOTE = (
    "A group is the mean of its tasks, each counting the same; a field has the change against the baseline in points "
    "of 100, or the score of a variant that has none. * marks a change that is more than chance (Holm, per node). "
    "Purple is better, orange is worse."
)
NONE = "The study declares no tree of tasks, so there are no averages over groups of tasks."
MOST = 60
"""Lines that a figure can hold; the table has them all."""

Row = Mapping[str, Any]


def task_tree(rows: Sequence[Row]) -> Picture:
    """Draw ``comparison["tree"]``, or say why there is nothing to draw."""
    if not rows:
        return Picture(NAME, TITLE, NONE, None)
    nodes = list(dict.fromkeys(tuple(row["node"]) for row in rows))
    lines = list(dict.fromkeys(name(row, rows) for row in rows))[:MOST]
    found = {(name(row, rows), tuple(row["node"])): row for row in rows}
    depth = max(len(node) for node in nodes) + 1
    heights = [depth * 0.34 + 0.1, len(lines) * 0.28 + 0.6]
    figure, [above, below] = new_figure(1.0 * len(nodes) + 3.2, sum(heights) + 0.6, 2, heights=heights)
    fields = [[field(found.get((line, node))) for node in nodes] for line in lines]
    coloured(below, lines, [title(node) for node in nodes], fields, reach(f for line in fields for f in line))
    _branches(above, nodes)
    above.set_xlim(below.get_xlim())
    return Picture(NAME, TITLE, _in_words(rows), figure, NOTE)


def name(row: Row, rows: Sequence[Row]) -> str:
    """Return a variant's name, with its evaluation format where there are several."""
    several = len({r["eval_format"] for r in rows}) > 1
    return f"{row['variant']} ({row['eval_format']})" if several else row["variant"]


def title(node: Sequence[str]) -> str:
    """Return what a node is called: its own name; the root stands for all tasks."""
    return node[-1] if node else "all"


def field(row: Row | None) -> Field:
    """Return what a variant's field says of a node."""
    if row is None or "value" not in row:
        return Field("○", None)
    if "difference" not in row:
        return Field(f"{100 * row['value']:.1f}", None)
    sure = "" if row["verdict"] == "undecided" else "*"
    return Field(f"{100 * row['difference']:+.1f}{sure}", row["difference"])


def _branches(axes: Axes, nodes: Sequence[tuple[str, ...]]) -> None:
    """Draw a line from every node to its parent, and the names of the groups."""
    places = {node: x for x, node in enumerate(nodes)}
    for node, x in places.items():
        parent = node[:-1]
        if node and parent in places:
            axes.plot([places[parent], x, x], [-len(parent)] * 2 + [-len(node)], color="#888888", linewidth=1)
        axes.plot([x], [-len(node)], "o", color=INK, markersize=4)
        if any(other[: len(node)] == node for other in nodes if other != node):
            axes.annotate(label(title(node)), (x, -len(node)), (4, 4), textcoords="offset points", fontsize=8)
    axes.set_ylim(-max(map(len, nodes)) - 0.4, 0.6 if () in places else -0.4)
    axes.set_axis_off()


def _in_words(rows: Sequence[Row]) -> str:
    said: list[str] = []
    for row in rows:
        if "value" in row and len(row["tasks"]) > 1:
            change = f", {signed(row['difference'])} {_range(row)}" if "difference" in row else ""
            said.append(f"{row['variant']}, {title(row['node'])}: {number(row['value'])}{change}")
    return f"A matrix of variants and groups of tasks. {'; '.join(said)}"


def _range(row: Row) -> str:
    return signed_range({"low": row["difference_low"], "high": row["difference_high"]})
