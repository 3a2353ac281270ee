"""How long the steps of a plan would take: by the finished steps of this store, or by what was measured for it.

Time goes with visits to rows (a row in an epoch, a completion, an output) and with the size of the model. The finished
steps that are most like a planned one give the seconds of a visit, their median. Where none has the same model, a
short measurement counts, if there is one (``calibration.py``), and else one of another model, scaled by parameters,
which is rough and said to be. What nothing is known of is not known, and nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunelab.engine.plan import Plan, Status
from tunelab.engine.record import Record
from tunelab.engine.step import Step, Together
from tunelab.engine.store import Store
from tunelab.models.architecture import architecture
from tunelab.models.spec import ModelRef, known_config
from tunelab.study.calibration import Calibrations, Measured, texts_of
from tunelab.study.fitting import several
from tunelab.study.footprints import LOADING, budget_of
from tunelab.study.longest import Longest

Plain = Mapping[str, Any]


RECORDS, CALIBRATED = "records", "calibrated"
MEASURED = {f"tunelab.study.steps.{kind}:run" for kind in ("train", "generate")}
"""What can be measured on a few rows."""
NOT_ASKED = "it cannot be measured on a few rows"
NOT_MEASURED = "nothing like it is in the store, and it was not measured"


@dataclass(frozen=True)
class Duration:
    """Seconds that a step would take, and what says so: a finished step, the median of those most like it, or a
    measurement, which has no name.
    """

    seconds: float
    like: str | None = None
    same_model: bool = True
    most: float | None = None
    """Seconds where every answer takes its whole budget; None where they are no more, or not known."""
    start: float = 0.0
    """Seconds to load the libraries, which the first step of a run takes besides."""

    @property
    def source(self) -> str:
        """What it stands on."""
        return CALIBRATED if self.like is None else RECORDS

    def as_data(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        most = None if self.most is None else round(self.most, 3)
        found = {"seconds": round(self.seconds, 3), "most": most, "source": self.source}
        return {**found, "like": self.like, "same_model": self.same_model}


def durations(planned: Plan, store: Store) -> dict[str, Duration]:
    """Return, by fingerprint, how long each step that is to run would take, for those that something is known of."""
    records = [artifact.record for artifact in store.artifacts()]
    measured = _Measurements(store)
    to_run = [p.step for p in planned.steps if p.status is Status.TO_RUN]
    found = {step.fingerprint: _best(step, records, store, measured) for step in to_run}
    return {fingerprint: duration for fingerprint, duration in found.items() if duration is not None}


def _best(step: Step, records: Sequence[Record], store: Store, measured: _Measurements) -> Duration | None:
    recorded = _duration(step, records, store)
    if step.entry not in MEASURED or (recorded is not None and recorded.same_model):
        return recorded
    return measured.duration(step) or recorded


class _Measurements:
    """What a store's calibrations say of steps."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept = Calibrations(store)
        self._longest = Longest(store)

    def duration(self, step: Step) -> Duration | None:
        found, rows = self._kept.find(step), _rows(step, self._store)
        if found is None or rows is None:
            return None
        return self._trained(step, rows, found) if step.kind == "train" else self._answered(step, rows, found)

    def _trained(self, step: Step, rows: int, found: Measured) -> Duration:
        work = _trained(step.settings["recipe"], rows) * found.row * self._longer(step, found)
        most = found.fixed + work * budget_of(step.settings["reward"]) / found.drawn if found.drawn else None
        return Duration(found.fixed + work, most=most, start=found.start)

    def _answered(self, step: Step, rows: int, found: Measured) -> Duration:
        before = found.fixed + rows * found.row * self._longer(step, found)
        if "decoding" not in step.settings:
            return Duration(before, start=found.start)
        decoding, drawn = step.settings["decoding"], self._drawn(step, found)
        each = rows * decoding["samples"] * found.token
        most = before + each * decoding["max_new_tokens"]
        return Duration(before + each * drawn if drawn else most, most=most if drawn else None, start=found.start)

    def _longer(self, step: Step, found: Measured) -> float:
        """How many times longer a step's rows are than those that were measured; 1 where that is not known."""
        usual = self._longest.usual(step, ModelRef(**step.circumstance["model"])) if found.length else None
        if usual is None or not found.length:
            return 1.0
        return (usual.row if step.kind == "train" else usual.prompt) / found.length

    def _drawn(self, step: Step, found: Measured) -> float | None:
        """How many tokens an answer takes: what was learnt in its format, or what was drawn when it was measured."""
        trained = step.inputs.get("trained")
        if trained is not None and _has_learnt(trained, step):
            usual = self._longest.usual(trained, ModelRef(**step.circumstance["model"]))
            if usual is not None:
                return min(usual.answer + 1, step.settings["decoding"]["max_new_tokens"])
        return found.drawn if found.of(texts_of(step)) else None


def _has_learnt(trained: Step, step: Step) -> bool:
    """Say whether a variant was taught the answers of a step's task in its template."""
    same = [(s.circumstance.get("task"), _get(s.settings, "format", "template")) for s in (trained, step)]
    return _get(trained.settings, "recipe", "method") in ("sft", "seq2seq") and same[0] == same[1]


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


def lines(planned: Plan, found: Mapping[str, Duration], why: Mapping[str, str] | None = None) -> list[str]:
    """Return what is to be said of the time in all: how much, from what, and of how many steps nothing is known.

    ``why`` says by fingerprint why steps were not measured.
    """
    to_run = [p.step for p in planned.steps if p.status is Status.TO_RUN]
    known = [found[step.fingerprint] for step in to_run if step.fingerprint in found]
    unknown = [step for step in to_run if step.fingerprint not in found and step.entry in LOADING]
    told = [_in_all(known)] if known else []
    if unknown and not why:
        what = f"{len(unknown)} that load{'s' if len(unknown) == 1 else ''} a model"
        told.append(
            f"time is not known of {what}: nothing like {'it' if len(unknown) == 1 else 'them'} is in the store; "
            "tunelab plan --calibrate measures"
        )
    reasons: dict[str, list[str]] = {}
    for step in unknown if why else ():
        reasons.setdefault((why or {}).get(step.fingerprint, NOT_ASKED), []).append(f"{step.kind}/{step.slug}")
    return [*told, *(f"{several(names)}: time is not known, {reason}" for reason, names in reasons.items())]


def _in_all(known: Sequence[Duration]) -> str:
    start = max((duration.start for duration in known), default=0.0)
    seconds = sum(d.seconds for d in known) + start
    most = sum(d.most or d.seconds for d in known) + start
    loading = f", {clock(start)} of it to load libraries" if start else ""
    up_to = f", at most {clock(most)} if answers take their whole budget" if clock(most) != clock(seconds) else ""
    rough = sum(not duration.same_model for duration in known)
    other = f"; {rough} of them by a model of another size, which is rough" if rough else ""
    measured = sum(duration.source == CALIBRATED for duration in known)
    calibrated = f"{'' if measured == len(known) else f'{measured} of them '}calibrated" if measured else ""
    by = (
        [calibrated]
        if measured == len(known)
        else ["by finished steps like these", *([calibrated] if measured else [])]
    )
    return f"time is about {clock(seconds)}{loading}{up_to}, {', '.join(by)}{other}"


def written(duration: Duration) -> str:
    """Write a step's time, with what it is at most where answers may stop early."""
    least, most = clock(duration.seconds), clock(duration.most) if duration.most else ""
    return least if most in ("", least) else f"{least} to {most}"


def clock(seconds: float) -> str:
    """Write a time as a person plans with it."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else "1 s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def together_lines(planned: Plan) -> list[str]:
    """Return which trainings may run at once; their times are those of each by itself."""
    groups: dict[Together, list[str]] = {}
    for step in (p.step for p in planned.steps if p.status is Status.TO_RUN):
        if step.together:
            groups.setdefault(step.together, []).append(f"{step.kind}/{step.slug}")
    return [
        f"{several(names)} may be trained together, where that is faster than the sum of their times"
        for names in groups.values()
        if len(names) > 1
    ]
