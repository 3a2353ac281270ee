"""``results/<study>/``: a study's results by the names that people use, as links into the store.

    models/<variant>/             the trained model or adapter
    checkpoints/<variant>/step_<n>/   what a training kept on its way, for ``from_checkpoint``
    training/<variant>.jsonl      what its trainer logged: loss, learning rate and more over the optimiser steps
    tensorboard/training/<variant>/   TensorBoard's files of its training, where hardware.track asks for them;
                                  tensorboard/<study>/ has the final table
    configs/<variant>.json        the variant as a study file of its own, every default written out
    eval/<variant>_eval_<name>/   results.json, summary.json, scores.jsonl, outputs.jsonl,
                                  verdicts_<judge>.jsonl where outputs are judged
    data/<task>.jsonl             the rows that a task is scored on, and <task>.receipt.json; with several sets of
                                  rows <task>-<evaluation>, by the first evaluation that uses them
    data/<variant>/               train.parquet and receipt.json, after ``tunelab data prepare``
    data/mixed/, data/test/       after the same, the rows of a mixture and those it is scored on, in one shape
    checkpoint_scores_<variant>.csv   every checkpoint that a search chose among
    few_shots/<task>-<format>.jsonl   worked examples to edit and give back as few_shots.file: a copy, no link
    comparison.json               the comparison as data
    final_metrics.json, .csv      every metric of every cell, with its n; summary.csv: a row a variant
    evaluation/                   <model>_results.json: a variant's metrics, data set by data set
    report/                       index.html, tables/, comparison.csv, averages.csv, figures

Deleting the folder loses nothing but worked examples that you edited: the next run makes it again. Links to what a
run no longer has are removed; configurations of earlier runs stay, as each is whole by itself. So do checkpoints, as
long as the store has them and the variant is not trained anew: a run that evaluates one must not lose the others.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tunelab.engine.record import Artifact
from tunelab.engine.runner import Outcome, artifact_of
from tunelab.engine.step import Step
from tunelab.errors import StoreError
from tunelab.files import read_json, write_json
from tunelab.study.adopt_plan import KIND as ADOPT
from tunelab.study.by_model import EVALUATION, SUFFIX, write_by_model
from tunelab.study.cells import Cell, cell_folder, file_name
from tunelab.study.closing_plan import verdict_steps
from tunelab.study.configurations import configuration
from tunelab.study.examples_copy import copy_examples
from tunelab.study.exports import EXPORTS, write_exports
from tunelab.study.judges_plan import VERDICTS
from tunelab.study.open import Opened, tokenised_sets, unified_sets
from tunelab.study.steps.files import COMPARISON
from tunelab.study.steps.rows import ROWS
from tunelab.study.steps.select import CHECKPOINT_SCORES, METRICS
from tunelab.study.tokenise_plan import RECEIPT, TOKENS
from tunelab.study.unified_plan import MIXED, TEST, contents
from tunelab.tasks.find import find_task
from tunelab.training.checkpoints import checkpoint_step, kept_checkpoints
from tunelab.training.trackers import TENSORBOARD

CHECKPOINTS = "checkpoints"


def link_results(opened: Opened, outcome: Outcome, results: Path) -> Path:
    """Make the links of a study and return its folder."""
    root = results / opened.name
    for variant in opened.compiled.train:
        _link_variant(opened, outcome, variant, root)
    for cell in opened.compiled.cells:
        _link_cell(opened, outcome, cell, root)
    copy_examples(opened, outcome, root / "few_shots")
    _forget_others(root, opened)
    _link_rows(opened, outcome, root / "data")
    _link_comparison(opened, outcome, root)
    if report := artifact_of(opened.store, outcome, opened.compiled.report):
        _link(root / "report", report.directory)
    return root


def _link_cell(opened: Opened, outcome: Outcome, cell: Cell, root: Path) -> None:
    step = opened.compiled.scores[cell.name]
    folder = eval_folder(root, cell.variant.name, cell.evaluation.name)
    if artifact := artifact_of(opened.store, outcome, step):
        for name in ("results.json", "summary.json", "scores.jsonl"):
            _link(folder / name, artifact.directory / name)
        for name, (behind, file) in _behind(step).items():
            if found := artifact_of(opened.store, outcome, behind):
                _link(folder / name, found.directory / file)
    elif step.fingerprint in outcome.states:
        _unlink(*folder.glob("*"))


def _link_comparison(opened: Opened, outcome: Outcome, root: Path) -> None:
    step = opened.compiled.compare
    if compared := artifact_of(opened.store, outcome, step):
        _link(root / COMPARISON, compared.directory / COMPARISON)
        comparison = read_json(compared.path(COMPARISON))
        write_exports(comparison, opened.name, root)
        write_by_model(comparison, root)
    elif step.fingerprint in outcome.states:
        _unlink(root / COMPARISON)
        for path in (*(root / name for name in EXPORTS), *root.glob(f"{EVALUATION}/*{SUFFIX}")):
            path.unlink(missing_ok=True)


def _behind(score: Step) -> dict[str, tuple[Step, str]]:
    """The files that a score was made of, by what they are called beside it: step and name."""
    verdicts = {f"verdicts_{file_name(judge)}.jsonl": (step, VERDICTS) for judge, step in verdict_steps(score).items()}
    return {"outputs.jsonl": (score.inputs["outputs"], "outputs.jsonl"), **verdicts}


def _link_variant(opened: Opened, outcome: Outcome, variant: str, root: Path) -> None:
    step, model = opened.compiled.train[variant], root / "models" / file_name(variant)
    scores, curves = _checkpoint_scores(root, variant), _curves(root, variant)
    if artifact := artifact_of(opened.store, outcome, step):
        _link(model, artifact.directory / "model")
        _write(root / "configs" / f"{file_name(variant)}.json", configuration(opened.compiled, variant))
        if METRICS in artifact.record.files:
            _link(logged(root, variant), artifact.directory / METRICS)
        if (artifact.directory / TENSORBOARD).is_dir():
            _link(curves, artifact.directory / TENSORBOARD)
        if CHECKPOINT_SCORES in artifact.record.files:
            _link(scores, artifact.directory / CHECKPOINT_SCORES)
        if step.kind != ADOPT:
            _link_checkpoints(artifact, root / CHECKPOINTS / file_name(variant))
    elif step.fingerprint in outcome.states:
        _unlink(model, scores, logged(root, variant), curves)


def _link_checkpoints(artifact: Artifact, folder: Path) -> None:
    _unlink(*folder.glob("*"))
    for kept in kept_checkpoints(artifact.record.files):
        _link(folder / f"step_{checkpoint_step(kept)}", artifact.directory / kept)


def eval_folder(root: Path, variant: str, evaluation: str) -> Path:
    """Return where a cell's files are in a study's folder."""
    return root / "eval" / cell_folder(variant, evaluation)


def logged(root: Path, variant: str) -> Path:
    """Return where a study's folder has what a variant's trainer logged."""
    return root / "training" / f"{file_name(variant)}.jsonl"


def _curves(root: Path, variant: str) -> Path:
    return root / "tensorboard" / "training" / file_name(variant)


def _checkpoint_scores(root: Path, variant: str) -> Path:
    return root / f"checkpoint_scores_{file_name(variant)}.csv"


def link_data(opened: Opened, outcome: Outcome, results: Path) -> dict[str, Path]:
    """Link the tokenised sets that are there and return the folder of each by its variant."""
    folders: dict[str, Path] = {}
    for variant, step in tokenised_sets(opened).items():
        if artifact := artifact_of(opened.store, outcome, step):
            folders[variant] = results / opened.name / "data" / file_name(variant)
            for name in (TOKENS, RECEIPT):
                _link(folders[variant] / name, artifact.directory / name)
    return folders


def link_mixtures(opened: Opened, outcome: Outcome, results: Path) -> dict[str, Path]:
    """Link the files of mixed rows that are there and return the folder of each mixture by its first variant.

    The only mixture of a study lies in ``data`` itself, one of several in a folder of its variant.
    """
    first: dict[str, str] = {}
    for variant, step in unified_sets(opened).items():
        first.setdefault(step.fingerprint, variant)
    folders: dict[str, Path] = {}
    for variant in first.values():
        if artifact := artifact_of(opened.store, outcome, unified_sets(opened)[variant]):
            data = results / opened.name / "data"
            folders[variant] = data if len(first) == 1 else data / file_name(variant)
            _link_mixture(artifact, folders[variant])
    return folders


def _link_mixture(artifact: Artifact, folder: Path) -> None:
    """Link the files of mixed rows, in place of those that an earlier run linked there."""
    _unlink(*(path for part in (MIXED, TEST) for path in (folder / part).glob("*")))
    for file in contents(artifact.record.settings):
        if file in artifact.record.files:
            _link(folder / file, artifact.directory / file)


def _link_rows(opened: Opened, outcome: Outcome, folder: Path) -> None:
    """Link the rows of every evaluated task that are there, and remove links to others."""
    kept: set[Path] = set()
    for name, step in scored_rows(opened).items():
        if artifact := artifact_of(opened.store, outcome, step):
            for suffix, target in ((".jsonl", ROWS), (".receipt.json", RECEIPT)):
                kept.add(folder / f"{name}{suffix}")
                _link(folder / f"{name}{suffix}", artifact.directory / target)
    for path in (*folder.glob("*.jsonl"), *folder.glob("*.receipt.json")):
        if path.is_symlink() and path not in kept:
            path.unlink()


def scored_rows(opened: Opened) -> dict[str, Step]:
    """Name the step behind each set of rows that is scored: the task, and where it has several the evaluation."""
    sets: dict[str, dict[str, tuple[str, Step]]] = {}
    for cell in opened.compiled.cells:
        rows = opened.compiled.scores[cell.name].inputs["rows"]
        task = find_task(cell.evaluation.task, opened.compiled.folder).name
        sets.setdefault(task, {}).setdefault(rows.fingerprint, (cell.evaluation.name, rows))
    return {
        file_name(task if len(found) == 1 else f"{task}-{evaluation}"): step
        for task, found in sets.items()
        for evaluation, step in found.values()
    }


def _forget_others(root: Path, opened: Opened) -> None:
    """Remove links that an earlier run made for variants and cells that this one does not have."""
    kept = {root / "models" / file_name(variant) for variant in opened.compiled.train}
    kept |= {logged(root, variant) for variant in opened.compiled.train}
    kept |= {_curves(root, variant) for variant in opened.compiled.train}
    kept |= {eval_folder(root, c.variant.name, c.evaluation.name) for c in opened.compiled.cells}
    kept |= {
        _checkpoint_scores(root, variant)
        for variant, step in opened.compiled.train.items()
        if step.settings.get("search") == "checkpoints"
    }
    links = ("models/*", "training/*", "tensorboard/training/*", "eval/*/*")
    for path in (path for pattern in (*links, _checkpoint_scores(root, "*").name) for path in root.glob(pattern)):
        if path.is_symlink() and path not in kept and path.parent not in kept:
            path.unlink()
    _unlink(*(path for path in root.glob(f"{CHECKPOINTS}/*/*") if not path.exists()))
    for folder in (*root.glob("eval/*"), *root.glob(f"{CHECKPOINTS}/*")):
        if folder not in kept and not any(folder.iterdir()):
            folder.rmdir()


def _unlink(*paths: Path) -> None:
    """Remove links to results of an earlier run where this one has failed: they would pass for its own."""
    for path in paths:
        if path.is_symlink():
            path.unlink()


def _link(path: Path, target: Path) -> None:
    """Point ``path`` at ``target``, replacing an older link and nothing else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_symlink():
        raise StoreError(f"{path}: is not a link of ours; move it away or choose another folder with --results")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(target.resolve(), path.parent.resolve()))
    temporary.replace(path)


def _write(path: Path, settings: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, settings)
