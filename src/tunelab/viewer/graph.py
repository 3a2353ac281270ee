"""The plan as a picture: a column a depth, a box a step, a line for every need that no longer way already shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tunelab.viewer.runs import PlannedStep

BOX = (146, 42)
GAPS = (22, 10)
EDGE = 8


@dataclass(frozen=True)
class Box:
    """A step's place: its upper left corner."""

    name: str
    x: int
    y: int


@dataclass(frozen=True)
class Line:
    """A need's way, as an SVG path, from the step that is needed to the one that needs it."""

    source: str
    target: str
    path: str


@dataclass(frozen=True)
class Graph:
    """What is drawn, and how large it is."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    width: int
    height: int


@lru_cache(maxsize=32)
def lay_out(steps: tuple[PlannedStep, ...]) -> Graph:
    """Place steps, given in an order in which needs come first."""
    columns = _columns(steps)
    tallest = max((len(column) for column in columns), default=0)
    places: dict[str, Box] = {}
    for x, column in enumerate(columns):
        above = (tallest - len(column)) * (BOX[1] + GAPS[1]) // 2
        for y, name in enumerate(column):
            places[name] = Box(name, EDGE + x * (BOX[0] + GAPS[0]), EDGE + above + y * (BOX[1] + GAPS[1]))
    lines = tuple(_line(places[need], places[step.name]) for step in steps for need in _direct(steps)[step.name])
    width = 2 * EDGE + len(columns) * (BOX[0] + GAPS[0]) - GAPS[0]
    height = 2 * EDGE + tallest * (BOX[1] + GAPS[1]) - GAPS[1]
    return Graph(tuple(places.values()), lines, max(width, 0), max(height, 0))


def _columns(steps: Sequence[PlannedStep]) -> list[list[str]]:
    """Steps by depth; inside a column they follow the middle of what they need, so that lines cross little."""
    depths: dict[str, int] = {}
    for step in steps:
        depths[step.name] = 1 + max((depths[need] for need in step.needs if need in depths), default=-1)
    direct, heights = _direct(tuple(steps)), dict[str, float]()
    columns: list[list[str]] = []
    for depth in range(max(depths.values(), default=-1) + 1):
        column = [step.name for step in steps if depths[step.name] == depth]
        wanted = {name: _middle([heights[n] for n in direct[name]]) for name in column}
        column.sort(key=lambda name: wanted[name])
        heights |= {name: (i + 0.5) / len(column) for i, name in enumerate(column)}
        columns.append(column)
    return columns


def _middle(heights: Sequence[float]) -> float:
    return sum(heights) / len(heights) if heights else 0.5


@lru_cache(maxsize=32)
def _direct(steps: tuple[PlannedStep, ...]) -> Mapping[str, tuple[str, ...]]:
    """The needs of each step without those that another need has behind it."""
    behind: dict[str, set[str]] = {}
    direct: dict[str, tuple[str, ...]] = {}
    for step in steps:
        needs = [need for need in step.needs if need in behind]
        further = set[str]().union(*(behind[need] for need in needs))
        behind[step.name] = further | set(needs)
        direct[step.name] = tuple(need for need in needs if need not in further)
    return direct


def _line(source: Box, target: Box) -> Line:
    x1, y1 = source.x + BOX[0], source.y + BOX[1] // 2
    x2, y2 = target.x, target.y + BOX[1] // 2
    bend = GAPS[0] // 2
    return Line(source.name, target.name, f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}")
