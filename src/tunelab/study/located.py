"""Finding a finished cell by the name that people use, or by its folder: ``STUDY/VARIANT/EVALUATION``.

A cell's files under results are links into the store, so that the record behind them says what they were made of.
Names are those of ``comparison.json``, which knows what has no result, too. Nothing is planned, and no study file is
needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunelab.engine.folder import Records
from tunelab.engine.record import Artifact
from tunelab.engine.store import Store
from tunelab.errors import StudyError, nearest
from tunelab.files import read_json
from tunelab.study.layout import eval_folder
from tunelab.study.steps.files import COMPARISON
from tunelab.study.steps.score import SCORES

Row = Mapping[str, Any]
DATA_SUFFIXES = (".json", ".jsonl", ".csv", ".parquet")


@dataclass(frozen=True)
class Located:
    """A cell of a study: its name with the study's, its row of the comparison, and what is known of its scores."""

    study: str
    results: Path
    """The folder that the study's is in."""
    row: Row
    score: Artifact
    store: Store
    file: Artifact | None = None
    """What was imported, where the cell is a file of outputs."""

    @property
    def name(self) -> str:
        """``study/variant/evaluation``, or the file."""
        return self.row["cell"] if self.file else f"{self.study}/{self.row['cell']}"

    def behind(self, name: str) -> Artifact | None:
        """Return an input of the score step, like its rows or outputs; None where the store has it no more."""
        return made_by(self.store, self.score.record.inputs.get(name))


def made_by(store: Store, fingerprint: str | None) -> Artifact | None:
    """Return the finished step of that fingerprint; None where the store has none."""
    if fingerprint is None:
        return None
    folders = sorted(store.root.glob(f"*/*-{fingerprint[:8]}"))
    found = [Artifact(record, folder) for folder in folders if (record := Records().read(folder))]
    return next((artifact for artifact in found if artifact.record.fingerprint == fingerprint), None)


def locate(name: str, results: Path) -> Located:
    """Return the cell of that name, or of that folder. Raises StudyError that says what to do instead."""
    folder = Path(name)
    if (folder / SCORES).is_symlink() or (folder / SCORES).is_file():
        return _of_folder(folder.absolute())
    study, _, cell = name.partition("/")
    known = {path.parent.name: path.parent for path in sorted(results.glob(f"*/{COMPARISON}"))}
    if study not in known and _is_path(name):
        what = f"has no {SCORES}" if folder.is_dir() else "no such file"
        raise StudyError(f"{name}: {what}, expected STUDY/VARIANT/EVALUATION, a cell's folder or a file of outputs")
    if study not in known:
        raise StudyError(
            f"cell: got {name!r}, expected STUDY/VARIANT/EVALUATION, a cell's folder or a file of outputs; "
            f"{results} has no results of {study!r}{nearest(study, known)}"
        )
    return _of_row(known[study], _row(known[study], name, cell))


def _is_path(name: str) -> bool:
    """Say whether a name can only mean a file or a folder."""
    return name.partition("/")[0] in ("", ".", "..", "~") or Path(name).suffix in DATA_SUFFIXES or Path(name).exists()


def _row(root: Path, name: str, cell: str) -> Row:
    """A cell's row of the comparison."""
    comparison = read_json(root / COMPARISON)
    rows = {row["cell"]: row for row in comparison["cells"]}
    missing = {row["cell"]: row for row in comparison["missing"]}
    if cell in missing:
        raise StudyError(f"cell: {name} has no result ({missing[cell]['error']}); run the study {root.name} again")
    if cell not in rows:
        raise StudyError(f"cell: got {name!r}, expected a cell of {root.name}{nearest(cell, rows)}")
    return rows[cell]


def _of_folder(folder: Path) -> Located:
    root = folder.parent.parent
    if not (root / COMPARISON).is_file():
        raise StudyError(
            f"{folder}: lies beside no {COMPARISON}, expected RESULTS/STUDY/eval/CELL of a study that ran to its end; "
            "run the study, and name the folder under its results"
        )
    rows: Sequence[Row] = read_json(root / COMPARISON)["cells"]
    named = {eval_folder(root, row["variant"], row["evaluation"]).name: row for row in rows}
    if folder.name not in named:
        raise StudyError(f"{folder}: got a folder of no cell of {root.name}{nearest(folder.name, named)}; run it again")
    return _of_row(root, named[folder.name])


def _of_row(root: Path, row: Row) -> Located:
    directory = (eval_folder(root, row["variant"], row["evaluation"]) / SCORES).resolve().parent
    record = Records().read(directory)
    if record is None or not (directory / SCORES).is_file():
        raise StudyError(
            f"cell: {root.name}/{row['cell']} has no record behind {directory / SCORES}, expected a link into the "
            f"store; run the study {root.name} again, which links it anew"
        )
    compared = Records().read((root / COMPARISON).resolve().parent)
    if compared is not None and compared.inputs.get(row["cell"]) != record.fingerprint:
        raise StudyError(
            f"cell: {root.name}/{row['cell']} is not what {directory / SCORES} has, expected the scores that "
            f"{root / COMPARISON} was made of; run the study {root.name} again, which links it anew"
        )
    return Located(root.name, root.absolute().parent, row, Artifact(record, directory), Store(directory.parent.parent))
