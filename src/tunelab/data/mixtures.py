"""Mixtures: training rows of several tasks, drawn by a declared rule, with a receipt that says how often.

A mixture decides how many rows each source gives, never which answer is right: rows keep their task. Small sources
are repeated only as far as the mixture declares, because a set repeated a hundred times is learnt by heart without
anybody noticing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tunelab.data.sample import Sample
from tunelab.data.subsets import rank
from tunelab.errors import DataError, nearest

TASK = "task"
"""The key under which a mixed sample's metadata name its task."""
OFTEN = 4
"""Repeats above which a receipt warns."""
VERY_OFTEN = 20
"""Repeats above which a mixture must say that it means it."""
NAMED_SIZES = ("smallest", "total")
SHARE_DIGITS = 12
"""Decimal places of a share that count: what is written otherwise is another share no sooner than that."""


class Mixture(BaseModel):
    """How the rows of several tasks are put together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: Literal["concatenate", "proportional", "temperature", "ratio"] = Field(
        default="concatenate",
        description="concatenate: all rows; proportional: shares like the sources' sizes; temperature: shares like "
        "sizes to the power 1 / temperature; ratio: shares as declared under weights.",
    )
    temperature: float = Field(default=1.0, gt=0, description="Used by rule temperature; large evens the shares out.")
    weights: dict[str, float] = Field(
        default_factory=dict,
        description="Used by rule ratio: weight by task, or by group of tasks, which share it equally.",
    )
    size: int | Literal["smallest", "total"] = Field(
        default="smallest",
        description="Rows in all; smallest: as many as there can be without more repeats than max_repeats; total: as "
        "many as all sources have together, small ones repeated.",
    )
    max_repeats: float = Field(default=1.0, ge=1, description="How often a row may be used at most, on average.")
    allow_repeats: bool = Field(default=False, description=f"Needed for more than {VERY_OFTEN} repeats.")
    seed: int = Field(default=0, description="Chooses the rows and their order.")

    @field_validator("size", mode="before")
    @classmethod
    def _size_is_known(cls, size: Any) -> Any:
        if isinstance(size, str) and size not in NAMED_SIZES:
            raise ValueError(f"got {size!r}, expected a number of rows, smallest or total{nearest(size, NAMED_SIZES)}")
        return size

    @model_validator(mode="after")
    def _settings_fit(self) -> Mixture:
        if (self.rule == "ratio") != bool(self.weights):
            raise ValueError(
                f"weights: got {self.weights or 'none'} with rule {self.rule}, expected them with ratio only"
            )
        if any(not weight > 0 for weight in self.weights.values()):
            raise ValueError(f"weights: got {self.weights}, expected numbers above 0; leave a task out instead")
        if self.rule == "concatenate" and self.size != "smallest":
            raise ValueError(f"size: got {self.size} with rule concatenate, which takes all rows; use another rule")
        if self.max_repeats > VERY_OFTEN and not self.allow_repeats:
            raise ValueError(
                f"max_repeats: got {self.max_repeats:g}, expected at most {VERY_OFTEN}; "
                "write allow_repeats: true if rows shall really be repeated that often"
            )
        return self

    def identity(self, weights: Mapping[str, float]) -> dict[str, Any]:
        """Return what decides about the rows, with the share of each task, as plain JSON: 4 to 2 is 2 to 1."""
        used = {"rule", "size", "max_repeats", "seed"} | ({"temperature"} if self.rule == "temperature" else set())
        total = sum(weights.values())
        shares = {task: round(weight / total, SHARE_DIGITS) for task, weight in weights.items()}
        return self.model_dump(include=used) | ({"weights": shares} if self.rule == "ratio" else {})


def counts(available: Mapping[str, int], rule: Mapping[str, Any]) -> dict[str, int]:
    """Return how many rows each source gives, under a rule as ``Mixture.identity`` writes it.

    Raises DataError when a source would be repeated more often than the rule allows, or would give nothing.
    """
    if rule["rule"] == "concatenate":
        return dict(available)
    shares = _shares(available, rule)
    most = min(rule["max_repeats"] * n / shares[name] for name, n in available.items())
    named = {"smallest": math.floor(most + 1e-9), "total": sum(available.values())}
    size = named.get(rule["size"], rule["size"])
    drawn = _apportioned(shares, size)
    for name, count in drawn.items():
        if count == 0:
            raise DataError(
                f"mixture: {name} would give none of {size} rows, expected at least 1; raise mixture.size or its weight"
            )
        repeats = count / available[name]
        if count > math.ceil(rule["max_repeats"] * available[name]):
            raise DataError(
                f"mixture: {name} would give {count} rows of {available[name]}, {repeats:.1f} repeats, expected at "
                f"most {rule['max_repeats']:g}; lower mixture.size to {math.floor(most)} or raise mixture.max_repeats"
            )
    return drawn


def draw(samples: Sequence[Sample], count: int, seed: int) -> list[Sample]:
    """Return ``count`` samples in a seed's order: all equally often, give or take one; a repeat gets its own id."""
    ordered = sorted(samples, key=lambda s: rank(s.id, seed))
    rounds = [(number, sample) for number in range(math.ceil(count / len(ordered))) for sample in ordered]
    return [s if n == 0 else replace(s, id=f"{s.id}~{n + 1}") for n, s in rounds[:count]]


def mix(sources: Mapping[str, Sequence[Sample]], rule: Mapping[str, Any]) -> tuple[list[Sample], dict[str, Any]]:
    """Return the mixed rows, in an order that the seed decides, and their receipt by source.

    Ids get their task's name before them, and ``metadata["task"]`` names the task.
    """
    drawn = counts({name: len(samples) for name, samples in sources.items()}, rule)
    rows = [_marked(s, name) for name, samples in sources.items() for s in draw(samples, drawn[name], rule["seed"])]
    total = len(rows)
    receipt = {name: _receipt(len(samples), drawn[name], total) for name, samples in sources.items()}
    return sorted(rows, key=lambda s: rank(s.id, rule["seed"])), receipt


def _receipt(available: int, drawn: int, total: int) -> dict[str, Any]:
    repeats = drawn / min(drawn, available) if drawn else 0.0
    counted = {"available": available, "rows": drawn, "unique": min(drawn, available), "share": drawn / total}
    warning = {"warning": f"each row is used {repeats:.1f} times"} if repeats > OFTEN else {}
    return counted | {"repeats": repeats} | warning


def _marked(sample: Sample, task: str) -> Sample:
    return replace(sample, id=f"{task}/{sample.id}", metadata={**sample.metadata, TASK: task})


def _shares(available: Mapping[str, int], rule: Mapping[str, Any]) -> dict[str, float]:
    if rule["rule"] == "ratio":
        raw = {name: float(rule["weights"][name]) for name in available}
    else:
        power = 1 / rule["temperature"] if rule["rule"] == "temperature" else 1.0
        raw = {name: n**power for name, n in available.items()}
    return {name: value / sum(raw.values()) for name, value in raw.items()}


def _apportioned(shares: Mapping[str, float], size: int) -> dict[str, int]:
    """Split ``size`` by shares, whole numbers that add up: the largest remainders are rounded up (Hamilton)."""
    whole = {name: math.floor(share * size + 1e-9) for name, share in shares.items()}
    owed = sorted(shares, key=lambda name: whole[name] - shares[name] * size)
    return {name: n + (name in owed[: size - sum(whole.values())]) for name, n in whole.items()}
