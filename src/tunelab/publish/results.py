"""What is known of a trained variant: its records, its scores, and where its rows came from.

All of it is read from the store. The comparison is made over the cells that are finished, as ``tunelab report``
makes it, so a card never waits for the rest of a study and says which cells have no result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunelab.engine.record import Artifact
from tunelab.engine.runner import Runner, artifact_of
from tunelab.engine.step import Step
from tunelab.errors import StepError, StudyError, nearest
from tunelab.files import read_json
from tunelab.study.adopt_plan import KIND as ADOPT
from tunelab.study.api import SilentReporter
from tunelab.study.cells import BASE
from tunelab.study.configurations import configuration, portable
from tunelab.study.open import Opened, only_finished
from tunelab.study.spec import Study
from tunelab.study.steps.files import COMPARISON
from tunelab.study.steps.prepare import whole_split
from tunelab.tasks.find import find_task

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Origin:
    """Where prepared rows came from. ``hub`` is a data set's id, ``revision`` its commit where that is known."""

    task: str
    split: str
    hub: str | None
    revision: str | None
    text: str
    config: str | None = None
    """The hub's config of the split; None for rows that are not from the hub."""


@dataclass(frozen=True)
class Scored:
    """An evaluation of the variant: its row of the comparison, and that against the baseline where there is one."""

    cell: Row
    against: Row | None
    origin: Origin


@dataclass(frozen=True)
class Published:
    """A trained variant with what a card says of it."""

    name: str
    study: Study
    trained: Artifact
    rows: Sequence[Origin]
    """One, or one a task that was mixed."""
    receipts: Sequence[Row]
    """Of the prepared rows, in the same order."""
    mixture: Row | None
    """What each task of a mixture gave, by its name."""
    leaks: Sequence[Artifact]
    scored: Sequence[Scored]
    missing: Sequence[str]
    """Evaluations without a result."""
    configuration: Mapping[str, Any]

    @property
    def recipe(self) -> Row:
        """The resolved recipe."""
        return self.trained.record.settings["recipe"]

    @property
    def shares(self) -> list[list[str]]:
        """A line a task of a mixture: rows, different ones among them, share."""
        found = self.mixture or {}
        return [[task, f"{m['rows']:,}", f"{m['unique']:,}", f"{m['share']:.1%}"] for task, m in found.items()]

    @property
    def classifies(self) -> bool:
        """Whether heads choose labels in place of the model's words."""
        return self.recipe.get("head") == "classifier"

    @property
    def base(self) -> Row:
        """The model that was trained: name, location, revision."""
        return self.trained.record.circumstance["model"]

    @property
    def hub_base(self) -> str | None:
        """The base's id on the hub; None for the bundled model and for folders."""
        return self.base["location"] if self.base["revision"] else None


def read_published(opened: Opened, names: Sequence[str]) -> list[Published]:
    """Read the named variants, or all that the study trains. Raises StudyError for those that are not trained."""
    chosen = _trained(opened, names)
    comparison = _compare(opened)
    return [_published(opened, name, comparison) for name in chosen]


def _trained(opened: Opened, names: Sequence[str]) -> list[str]:
    known = opened.compiled.train
    for name in names:
        if name == BASE:
            raise StudyError("variant: got 'base', expected a trained one: base is the untouched model")
        if name not in known:
            raise StudyError(f"variant: got {name!r}, expected one of {opened.name}{nearest(name, known)}")
        if known[name].kind == ADOPT:
            raise StudyError(
                f"variant: {name} was adopted, expected one that was trained here; it is published already"
            )
    chosen = list(dict.fromkeys(names)) or [name for name in known if known[name].kind != ADOPT]
    if not chosen:
        raise StudyError(f"{opened.name}: trains no variant, expected at least one entry under train")
    if owed := [name for name in chosen if opened.store.find(known[name]) is None]:
        raise StudyError(f"not trained: {', '.join(owed)}; run the study first, or name the variants that are trained")
    return chosen


def _compare(opened: Opened) -> dict[str, Any]:
    """Compare what is finished."""
    finished = only_finished(opened)
    outcome = Runner(opened.store, SilentReporter()).run([finished.compiled.compare], finished.taken)
    compared = artifact_of(opened.store, outcome, finished.compiled.compare)
    if compared is None:
        raise StepError("; ".join(outcome.failures().values()))
    return read_json(compared.path(COMPARISON))


def _published(opened: Opened, name: str, comparison: Mapping[str, Any]) -> Published:
    compiled, store = opened.compiled, opened.store
    step = compiled.train[name]
    training = next((s for name, s in step.inputs.items() if name.startswith("train/")), step)
    rows = training.inputs["rows"]
    prepared = list(rows.inputs.values()) if rows.kind == "mix" else [rows]
    checks = [store.find(s) for s in training.after if s.kind == "check"]
    return Published(
        name=name,
        study=compiled.study,
        trained=store.open(step),
        rows=[origin(opened, source) for source in prepared],
        receipts=[store.open(source).record.facts["receipt"] for source in prepared],
        mixture=store.open(rows).record.facts["receipt"]["sources"] if rows.kind == "mix" else None,
        leaks=[check for check in checks if check is not None],
        scored=_scored(opened, name, comparison),
        missing=[c.evaluation.name for c in compiled.cells if c.variant.name == name and c.name in _holes(comparison)],
        configuration=portable(configuration(compiled, name)),
    )


def _holes(comparison: Mapping[str, Any]) -> list[str]:
    return comparison["holes"]


def _scored(opened: Opened, name: str, comparison: Mapping[str, Any]) -> list[Scored]:
    against = {row["cell"]: row for row in comparison["comparisons"]}
    cells = [cell for cell in comparison["cells"] if cell["variant"] == name]
    steps = opened.compiled.scores
    return [Scored(c, against.get(c["cell"]), origin(opened, steps[c["cell"]].inputs["rows"])) for c in cells]


def origin(opened: Opened, rows: Step) -> Origin:
    """Say where a prepare step took its rows: the hub, a copy of a hub's data set, a file, or the task itself."""
    task = find_task(rows.circumstance["task"], Path(rows.circumstance["folder"]))
    source: Row | None = opened.store.open(rows).record.facts["receipt"]["source"]
    split = rows.settings["split"] + (f", made of {whole_split(rows.settings)}" if "made" in rows.settings else "")
    if source is None:
        return Origin(task.name, split, None, None, "generated by the task")
    if "hub" in source:
        text = f"{source['hub']} at {source['revision']}"
        return Origin(task.name, split, source["hub"], source["revision"], text, source.get("config"))
    digest = f"sha256 {source['sha256'][:12]}…"
    if "builtin" in source:
        return Origin(task.name, split, None, None, f"the rows that the task ships ({digest})")
    if "file" in rows.circumstance or opened.compiled.study.data.files or task.dataset is None:
        return Origin(task.name, split, None, None, f"a file of the author's ({digest})")
    return Origin(task.name, split, task.dataset.repo, None, f"a copy of {task.dataset.repo} ({digest})")
