"""``results/<study>/``: a study's results by the names that people use, as links into the store.

    models/<variant>/             the trained model or adapter
    configs/<variant>.json        the variant as a study file of its own, every default written out
    eval/<variant>_eval_<name>/   results.json, summary.json, scores.jsonl, outputs.jsonl
    data/<variant>/               train.parquet and receipt.json, after ``tunelab data prepare``
    comparison.json               the comparison as data
    final_metrics.json, .csv      every metric of every cell, with its n; summary.csv: a row a variant
    report/                       index.html, comparison.csv, averages.csv, figures

Deleting the folder loses nothing: the next run makes it again. Links to what a run no longer has are removed;
configurations of earlier runs stay, as each is whole by itself.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tunelab.engine.runner import Outcome, artifact_of
from tunelab.errors import StoreError
from tunelab.files import read_json, write_json
from tunelab.study.configurations import configuration
from tunelab.study.exports import write_exports
from tunelab.study.open import Opened, tokenised_sets
from tunelab.study.steps.compare import COMPARISON
from tunelab.study.tokenise_plan import RECEIPT, TOKENS


def link_results(opened: Opened, outcome: Outcome, results: Path) -> Path:
    """Make the links of a study and return its folder."""
    root = results / opened.name
    for variant, step in opened.compiled.train.items():
        if artifact := artifact_of(opened.store, outcome, step):
            _link(root / "models" / file_name(variant), artifact.directory / "model")
            _write(root / "configs" / f"{file_name(variant)}.json", configuration(opened.compiled, variant))
    for cell in opened.compiled.cells:
        step = opened.compiled.scores[cell.name]
        if artifact := artifact_of(opened.store, outcome, step):
            folder = root / "eval" / f"{file_name(cell.variant.name)}_eval_{file_name(cell.evaluation.name)}"
            for name in ("results.json", "summary.json", "scores.jsonl"):
                _link(folder / name, artifact.directory / name)
            outputs = artifact_of(opened.store, outcome, step.inputs["outputs"])
            if outputs:
                _link(folder / "outputs.jsonl", outputs.directory / "outputs.jsonl")
    _forget_others(root, opened)
    if compared := artifact_of(opened.store, outcome, opened.compiled.compare):
        _link(root / COMPARISON, compared.directory / COMPARISON)
        write_exports(read_json(compared.path(COMPARISON)), opened.name, root)
    if report := artifact_of(opened.store, outcome, opened.compiled.report):
        _link(root / "report", report.directory)
    return root


def link_data(opened: Opened, outcome: Outcome, results: Path) -> dict[str, Path]:
    """Link the tokenised sets that are there and return the folder of each by its variant."""
    folders: dict[str, Path] = {}
    for variant, step in tokenised_sets(opened).items():
        if artifact := artifact_of(opened.store, outcome, step):
            folders[variant] = results / opened.name / "data" / file_name(variant)
            for name in (TOKENS, RECEIPT):
                _link(folders[variant] / name, artifact.directory / name)
    return folders


def _forget_others(root: Path, opened: Opened) -> None:
    """Remove links that an earlier run made for variants and cells that this one does not have."""
    kept = {root / "models" / file_name(variant) for variant in opened.compiled.train}
    kept |= {
        root / "eval" / f"{file_name(c.variant.name)}_eval_{file_name(c.evaluation.name)}"
        for c in opened.compiled.cells
    }
    for path in (*root.glob("models/*"), *root.glob("eval/*/*")):
        if path.is_symlink() and path not in kept and path.parent not in kept:
            path.unlink()
    for folder in root.glob("eval/*"):
        if folder not in kept and not any(folder.iterdir()):
            folder.rmdir()


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


def file_name(name: str) -> str:
    """Return what a variant or an evaluation is called as a file."""
    return name.replace("/", "-")
