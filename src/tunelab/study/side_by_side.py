"""Two cells side by side, whichever studies they are of: their difference, or why there is none.

A study's own comparison knows that its cells were asked the same rows, since one plan made them. Here that is looked
up: rows that have the same ids must ask the same, and worked examples that both prompts show must be the same ones,
as far as the shorter list goes. All else that the two differ in is told, field by field, and left to the reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tunelab.data.sample import Sample
from tunelab.engine.record import Artifact
from tunelab.errors import counted
from tunelab.study.comparison import adjust, difference
from tunelab.study.explain import Difference, Known, differences, flat_fields, known_steps
from tunelab.study.import_plan import KIND as IMPORT
from tunelab.study.located import Located, made_by
from tunelab.study.scored import Scored
from tunelab.study.steps.compare import read_scored
from tunelab.study.steps.rows import read_samples
from tunelab.tasks.find import find_task

SIDES = ("a", "b")
FINGERPRINT = 64
"""Hex digits of one."""
OUTPUTS = "outputs"
AGAIN = "outputs.rows."
"""The rows that were answered are those that are scored: they are told once."""


def side_by_side(one: Located, other: Located, alpha: float) -> dict[str, Any]:
    """Return the first minus the second as plain JSON, with ``differ_in`` and ``run_differs_in``.

    ``scores`` has the two by side, ``a`` and ``b``. ``refused`` stands in place of the numbers where the two are not
    comparable.
    """
    sides = [_scored(side, label) for side, label in zip((one, other), _labels(one, other), strict=True)]
    row = difference(sides[0], sides[1], alpha)
    if "refused" not in row and (reason := _other_questions(one, other) or _other_examples(one, other)):
        row = {name: row[name] for name in ("cell", "baseline", "task", "metric", "matched")} | {"refused": reason}
    adjust([row], alpha)
    return {
        **row,
        "alpha": alpha,
        "scores": {
            side: {"cell": s.cell["cell"], **s.summary["metrics"][s.headline]}
            for side, s in zip(SIDES, sides, strict=True)
        },
        "differ_in": [asdict(found) for found in _settings(one, other)],
        "run_differs_in": [asdict(found) for found in _circumstances(one, other)],
    }


def _labels(one: Located, other: Located) -> tuple[str, str]:
    """Name both sides; where they have one name, by the results that they are in, or else by side."""
    if one.name != other.name:
        return one.name, other.name
    if one.results != other.results:
        return f"{one.name} ({one.results})", f"{other.name} ({other.results})"
    a, b = (f"{one.name} ({side})" for side in SIDES)
    return a, b


def _scored(side: Located, label: str) -> Scored:
    """A cell's scores under the name that it has here."""
    folder = Path(side.score.record.circumstance["folder"])
    found = read_scored(side.row, side.score, find_task(side.row["task"], folder).metrics[0])
    return replace(found, cell={**side.row, "cell": label})


def _other_questions(one: Located, other: Located) -> str:
    """Say which rows have one id and ask two things; an empty text where none does."""
    rows = [_rows(side) for side in (one, other)]
    other_ones = [i for i in sorted(rows[0].keys() & rows[1].keys()) if rows[0][i] != rows[1][i]]
    return f"rows with the same ids ask different things: {counted(other_ones)}" if other_ones else ""


def _rows(side: Located) -> dict[str, tuple[Any, Any]]:
    """What each sample asks and accepts, by id; a store without the rows cannot show them otherwise."""
    artifact = side.behind("rows")
    return {s.id: (s.fields, s.targets) for s in read_samples(artifact)} if artifact else {}


def _other_examples(one: Located, other: Located) -> str:
    """Say which worked examples differ among those that both prompts show; an empty text where none does."""
    shown = [_examples(side) for side in (one, other)]
    pairs = [*zip(*shown, strict=False)]
    other_ones = [a.id for a, b in pairs if (a.fields, a.targets) != (b.fields, b.targets)]
    return f"their prompts show different worked examples, {len(other_ones)} of {len(pairs)}" if other_ones else ""


def _examples(side: Located) -> list[Sample]:
    outputs = side.behind(OUTPUTS)
    shots = made_by(side.store, outputs.record.inputs.get("shots")) if outputs else None
    if outputs is None or shots is None:
        return []
    return read_samples(shots)[: outputs.record.settings["format"]["few_shots"]["k"]]


def _settings(one: Located, other: Located) -> list[Difference]:
    """Every setting that can change a result and is not the same, down to the rows; a step stands by its name."""
    told = Difference(OUTPUTS, _whose(one), _whose(other))
    whose = [told] if (_imported(one) or _imported(other)) and told.first != told.second else []
    if one.file or other.file:
        return whose
    known = {**known_steps(one.store, None), **known_steps(other.store, None)}
    first, second = (known[side.score.record.fingerprint] for side in (one, other))
    found = [d for d in differences(known, first, second) if not d.field.startswith(AGAIN) and d.first != d.second]
    rest = [d for d in found if not whose or not d.field.startswith(f"{OUTPUTS}.")]
    return [*whose, *(Difference(d.field, _named(d.first, known), _named(d.second, known)) for d in rest)]


def _imported(side: Located) -> Artifact | None:
    """What was imported as a side's outputs, in a study or for this comparison; None where a model was asked."""
    outputs = side.file or side.behind(OUTPUTS)
    return outputs if outputs and outputs.record.kind == IMPORT else None


def _whose(side: Located) -> str:
    """What left a side's outputs: a step, or a file of which little is known."""
    imported, outputs = _imported(side), side.behind(OUTPUTS)
    if imported is None:
        return f"{outputs.record.kind}/{outputs.directory.name}" if outputs else "a step that the store has no more"
    found: Mapping[str, Any] = imported.record.facts["imported"]
    prompts = "prompts as recorded" if found["prompts"] else "prompts not known"
    digest = imported.record.settings["file"]["sha256"][:12]
    return f"{found['file']} (sha256 {digest}…; {found['layout']}; {prompts}; no format contract was checked)"


def _named(value: Any, known: Mapping[str, Known]) -> Any:
    return known[value].name if isinstance(value, str) and len(value) == FINGERPRINT and value in known else value


def _circumstances(one: Located, other: Located) -> list[Difference]:
    """What the outputs of both were made with that counts as no setting: libraries and the machine."""
    first, second = (_made_with(side.behind(OUTPUTS)) for side in (one, other))
    both = sorted(first.keys() & second.keys())
    return [Difference(name, first[name], second[name]) for name in both if first[name] != second[name]]


def _made_with(outputs: Artifact | None) -> dict[str, Any]:
    if outputs is None:
        return {}
    record = outputs.record
    return flat_fields({"versions": record.versions, "hardware": record.circumstance.get("hardware", {})})
