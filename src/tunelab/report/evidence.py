"""What the report reads: the comparison and the records of the steps that led to it.

Inputs are named by kind and by what a person calls them (``score/<variant>/<evaluation>``, ``train/<variant>``).
Whatever failed is a hole, under the same name. Without a comparison the report still says what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tunelab.engine.context import StepContext
from tunelab.engine.record import Artifact, Record
from tunelab.files import read_json

Cell = Mapping[str, Any]
TABLES = ("cells", "comparisons", "contrasts", "effects", "interactions", "group_changes", "group_contrasts",
          "group_pairs", "confusions", "tree", "thresholds", "holes", "recipes", "noise")  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """A study's results as they lie in the store."""

    study: Mapping[str, Any]
    inputs: Mapping[str, Artifact]
    holes: Mapping[str, str]
    """Names of the inputs that have no result, sorted, with the reason."""
    comparison: Mapping[str, Any]
    left_out: Mapping[str, str]
    """Names of the cells that their variant cannot answer, with the reason."""
    notices: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names of the variants that ran otherwise than asked, with what was asked, what ran and why."""
    hardware: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The study's ``hardware``, under that name: it may decide about identity, as a batch size does under sampling."""

    def of(self, kind: str) -> dict[str, Artifact]:
        """Return the inputs of a kind by their name without it, in the study's order."""
        return {name.partition("/")[2]: a for name, a in self.inputs.items() if name.partition("/")[0] == kind}

    def records(self) -> list[Record]:
        """Return each step's record once."""
        return list({a.record.fingerprint: a.record for a in self.inputs.values()}.values())

    @cached_property
    def cells(self) -> list[Cell]:
        """Every cell that was asked for, scored or not, in the study's order."""
        scored = {cell["cell"]: cell for cell in self.comparison["cells"]}
        if "compare" not in self.inputs:
            return []
        declared: list[Cell] = self.inputs["compare"].record.settings["cells"]
        return [scored.get(cell["cell"], cell) for cell in declared]

    @property
    def scored(self) -> list[Cell]:
        """The cells that have a score."""
        return [cell for cell in self.cells if "metrics" in cell]

    @cached_property
    def against(self) -> dict[str, Mapping[str, Any]]:
        """Each compared cell's comparison with its baseline, refused ones too."""
        return {row["cell"]: row for row in self.comparison["comparisons"]}

    @cached_property
    def templates(self) -> dict[str, str]:
        """Each generated cell's kind of template: ``chat`` or ``raw``."""
        return {name: a.record.settings["format"]["template"] for name, a in self.of("generate").items()}


def read_evidence(context: StepContext) -> Evidence:
    """Open a report step's inputs. Raises StoreError when a recorded file is gone."""
    comparison: dict[str, Any] = {"alpha": context.settings["study"]["alpha"], **{name: [] for name in TABLES}}
    if "compare" in context.inputs:
        comparison = read_json(context.inputs["compare"].path("comparison.json"))
    holes = {name: why or "was not run" for name, why in sorted(context.holes.items())}
    settings = context.settings
    notices = settings.get("notices", {})
    hardware = {name: known for name, known in context.circumstance.items() if name == "hardware"}
    return Evidence(settings["study"], context.inputs, holes, comparison, settings["left_out"], notices, hardware)


def verdict_of(cell: Cell, against: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a cell's verdict, or why it has none (baseline, refused, missing, error); empty without a baseline's."""
    if "error" in cell:
        return "error"
    if "metrics" not in cell or cell["metrics"][cell["headline"]]["value"] is None:
        return "missing"
    if cell["baseline"] is None:
        return "baseline"
    row = against.get(cell["cell"])
    return "" if row is None else "refused" if "refused" in row else row["verdict"]
