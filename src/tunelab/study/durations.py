"""How long the steps of a plan would take, from the steps of the same kind that this store has finished.

Time goes with visits to rows (a row in an epoch, a completion, an output) and with the size of the model. The finished
steps that are most like a planned one give the seconds of a visit, their median; where their model is another, they are
scaled by parameters, which is rough and said to be. What nothing like it was ever done of is not known, and nothing
is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunelab.engine.plan import Plan, Status
from tunelab.engine.record import Record
from tunelab.engine.step import Step
from tunelab.engine.store import Store
from tunelab.models.architecture import architecture
from tunelab.models.spec import ModelRef, known_config
from tunelab.study.footprints import LOADING

Plain = Mapping[str, Any]


@dataclass(frozen=True)
class Duration:
    """Seconds that a step would take, and the finished step that says so: the median of those most like it."""

    seconds: float
    like: str
    same_model: bool = True

    def as_data(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {"seconds": round(self.seconds, 3), "like": self.like, "same_model": self.same_model}


def durations(planned: Plan, store: Store) -> dict[str, Duration]:
    """Return, by fingerprint, how long each step that is to run would take, for those that something is known of."""
    records = [artifact.record for artifact in store.artifacts()]
    to_run = [p.step for p in planned.steps if p.status is Status.TO_RUN]
    found = {step.fingerprint: _duration(step, records, store) for step in to_run}
    return {fingerprint: duration for fingerprint, duration in found.items() if duration is not None}


def _duration(step: Step, records: Sequence[Record], store: Store) -> Duration | None:
    visits = _planned_visits(step, store)
    alike = [r for r in records if r.kind == step.kind and _comparable(step, r) and _visits(r)]
    if visits is None or not alike:
        return None
    most = max(_likeness(step, record) for record in alike)
    nearest = sorted((r for r in alike if _likeness(step, r) == most), key=_per_visit)
    middle = nearest[(len(nearest) - 1) // 2]
    size = 1.0 if _same_model(step, middle) else _relative_size(step, middle)
    if size is None:
        return None
    name = f"{middle.kind}/{middle.slug}-{middle.fingerprint[:8]}"
    return Duration(_per_visit(middle) * visits * size, name, _same_model(step, middle))


def _per_visit(record: Record) -> float:
    return record.seconds / _visits(record)


def _comparable(step: Step, record: Record) -> bool:
    """Say whether two steps of a kind do the same sort of work on the same sort of device."""
    for key in ("device", "rollouts"):
        if _get(step.circumstance, "hardware", key) != _get(record.circumstance, "hardware", key):
            return False
    sort = (("recipe", "method"), ("recipe", "adaptation"), ("by",), ("judge", "asked", "kind"), ("backend",))
    return all(_get(step.settings, *path) == _get(record.settings, *path) for path in sort)


def _likeness(step: Step, record: Record) -> tuple[bool, int]:
    """Return how alike two steps are: the model first, then how many of the settings that take time."""
    paths = (("format",), ("decoding", "max_new_tokens"), ("reward",), ("recipe", "max_length"), ("precision",))
    same = sum(_get(step.settings, *path) == _get(record.settings, *path) for path in paths)
    same += _get(step.circumstance, "task") == _get(record.circumstance, "task")
    return _same_model(step, record), same


def _same_model(step: Step, record: Record) -> bool:
    return _get(step.settings, "model") == _get(record.settings, "model")


def _relative_size(step: Step, record: Record) -> float | None:
    """Return how many times larger a step's model is than the record's; None where either is not known."""
    sizes = [_parameters(made) for made in (step.circumstance, record.circumstance)]
    return sizes[0] / sizes[1] if sizes[0] and sizes[1] else None


def _parameters(circumstance: Plain) -> int | None:
    model = circumstance.get("model")
    config = known_config(ModelRef(**model)) if model else None
    found = architecture(config) if config else None
    return found.parameters if found else None


def _planned_visits(step: Step, store: Store) -> float | None:
    """Return how often a planned step visits a row; 1 where its time does not go with rows."""
    if step.kind not in ("train", "generate", "judge", "score", "prepare"):
        return 1
    rows = _rows(step, store)
    if rows is None or step.kind in ("score", "prepare", "judge"):
        return rows
    if step.kind == "generate":
        return rows * _get(step.settings, "decoding", "samples", default=1)
    return _trained(step.settings["recipe"], rows)


def _trained(recipe: Plain, rows: float) -> float:
    """Return a training's visits: rows by epochs or by steps, each answered several times in GRPO."""
    visited = recipe["max_steps"] * recipe["batch_size"] if recipe.get("max_steps") else rows * recipe["epochs"]
    return visited * _get(recipe, "grpo", "num_generations", default=1)


def _rows(step: Step, store: Store) -> int | None:
    """Return how many rows a step reads, where they are prepared or declared as a number."""
    if (found := store.find(step)) is not None:
        return _get(found.record.facts, "receipt", "rows")
    if step.kind == "prepare":
        return step.settings["rows"] if isinstance(step.settings.get("rows"), int) else None
    source = step.inputs.get("rows") or step.inputs.get("outputs")
    return _rows(source, store) if source is not None else None


def _visits(record: Record) -> float:
    """Return how often a finished step visited a row, from what it counted; 0 where that is not known."""
    facts, settings = record.facts, record.settings
    if record.kind == "train":
        rows = _get(facts, "receipt", "visits") or _get(facts, "receipt", "rows")
        if not rows:
            return 0
        if _get(facts, "receipt", "visits"):
            return rows * _get(settings, "recipe", "grpo", "num_generations", default=1)
        return _trained(settings["recipe"], rows)
    counted = {"generate": ("outputs",), "judge": ("outputs",), "score": ("n",), "prepare": ("receipt", "rows")}
    return _get(facts, *counted[record.kind]) or 0 if record.kind in counted else 1


def _get(found: Any, *path: str, default: Any = None) -> Any:
    for key in path:
        if not isinstance(found, Mapping) or found.get(key) is None:
            return default
        found = found[key]
    return found


def lines(planned: Plan, found: Mapping[str, Duration]) -> list[str]:
    """Return what is to be said of the time in all: how much, from what, and of how many steps nothing is known."""
    to_run = [p.step for p in planned.steps if p.status is Status.TO_RUN]
    if not to_run:
        return []
    known = [found[step.fingerprint] for step in to_run if step.fingerprint in found]
    unknown = [step for step in to_run if step.fingerprint not in found and step.entry in LOADING]
    told: list[str] = []
    if known:
        rough = sum(not duration.same_model for duration in known)
        other = f"; {rough} of them by a model of another size, which is rough" if rough else ""
        told.append(f"time is about {clock(sum(d.seconds for d in known))}, by finished steps like these{other}")
    if unknown:
        what = f"{len(unknown)} that load{'s' if len(unknown) == 1 else ''} a model"
        told.append(
            f"time is not known of {what}: nothing like {'it' if len(unknown) == 1 else 'them'} is in the store"
        )
    return told


def clock(seconds: float) -> str:
    """Write a time as a person plans with it."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else "1 s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
