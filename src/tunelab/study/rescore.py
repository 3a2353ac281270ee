"""Scoring a bundle again: the recorded answers, the installed scorers, and what comes out otherwise than recorded.

The steps that score and compare are run as a study runs them, over the bundle's rows, outputs and verdicts. Nothing
is believed unread: every file must be the one in the manifest, and every step's files those of its record.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, cast

from tunelab.engine.context import StepContext
from tunelab.engine.folder import Records
from tunelab.engine.record import Artifact
from tunelab.engine.step import holes_of
from tunelab.errors import DataError, StoreError, StudyError, nearest
from tunelab.files import read_json, read_lines
from tunelab.study.bundle import FORMAT, MANIFEST, RECORD, TASKS, entry
from tunelab.study.exports import write_exports
from tunelab.study.steps import compare, score
from tunelab.tasks.find import find_task
from tunelab.tasks.identity import scorer_identity

TOLERANCE = 1e-9
"""Two machines may add the same numbers in another order."""


@dataclass(frozen=True)
class Rescored:
    """What scoring again came to."""

    study: str
    answers: Mapping[str, int]
    """Recorded answers by cell; candidates that were chosen among are there by the name of their step."""
    differing: Mapping[str, int]
    """How many of them are scored otherwise now, or are in one of the two only."""
    other_scorers: tuple[str, ...]
    """Cells whose installed scorer is not the one that is recorded."""
    same_comparison: bool

    @property
    def same(self) -> bool:
        """Whether everything came out as recorded."""
        return self.same_comparison and not any(self.differing.values())


def rescore(path: Path, out: Path, task_file: Path | None = None) -> Rescored:
    """Score a bundle again and write comparison and tables into ``out``.

    ``task_file`` stands in for the bundle's file of the same name. Raises DataError for what is no bundle, StoreError
    that names the first file that was changed, added or taken away.
    """
    with TemporaryDirectory() as temporary:
        root = Path(temporary) / "bundle"
        manifest = _unpack(path, root)
        steps = _artifacts(root, manifest)
        if task_file is not None:
            _replace_task(root, task_file)
        scored = {a.record.fingerprint: _score(a, steps, root, manifest) for a in _of_kind(steps, "score")}
        compared = Artifact(_record(root / manifest["compare"]), root / manifest["compare"])
        out.mkdir(parents=True, exist_ok=True)
        _compare(compared, scored, root, manifest, out)
        return _outcome(steps, scored, compared, root, manifest, out)


def _unpack(path: Path, root: Path) -> dict[str, Any]:
    """Write a bundle's files below ``root`` and return its manifest; only what the manifest names is written."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _manifest(archive, path)
            listed: dict[str, Any] = manifest["files"]
            _refuse_other_names(archive, listed, path)
            for name, known in listed.items():
                if (
                    archive.getinfo(name).file_size != known.get("bytes")
                    or entry(content := archive.read(name)) != known
                ):
                    raise StoreError(f"{path}: {name} was changed, expected the content that {MANIFEST} lists")
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(content)
            return manifest
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path}: got {error}, expected a bundle that `tunelab export` wrote") from None


def _manifest(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    if MANIFEST not in archive.namelist():
        raise DataError(f"{path}: has no {MANIFEST}, expected a bundle that `tunelab export` wrote")
    try:
        manifest = json.loads(archive.read(MANIFEST))
        if manifest["format"] > FORMAT:
            raise StoreError(f"{path}: got format {manifest['format']}, expected {FORMAT} or lower; upgrade tunelab")
        if f"{manifest['compare']}/{RECORD}" in manifest["files"] and _is_complete(manifest):
            return manifest
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise DataError(f"{path}: {MANIFEST} has other fields than expected of what `tunelab export` writes; export again")


def _is_complete(manifest: Mapping[str, Any]) -> bool:
    """Say whether a manifest has every field, of its kind; what it says of files is held against them later."""
    fields = [manifest[name] for name in ("left_out", "task_names")]
    known = [*manifest["files"].values(), *manifest["left_out"].values()]
    return all(isinstance(found, dict) for found in [*fields, *known]) and isinstance(manifest["study"], str)


def _refuse_other_names(archive: zipfile.ZipFile, listed: Mapping[str, Any], path: Path) -> None:
    """Refuse names that lead out of the bundle, and files that are there twice, unlisted or not at all."""
    found = archive.namelist()
    for name in (*listed, *found):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name or ":" in name:
            raise StoreError(f"{path}: got the name {name!r}, expected one within the bundle")
    if lost := sorted(set(listed) - set(found)):
        raise StoreError(f"{path}: {lost[0]} is missing, expected every file that {MANIFEST} lists")
    if more := sorted(name for name in found if name not in {*listed, MANIFEST} or found.count(name) > 1):
        raise StoreError(f"{path}: {more[0]} is not in {MANIFEST} or is there twice, expected each listed file once")


def _artifacts(root: Path, manifest: Mapping[str, Any]) -> dict[str, Artifact]:
    """Return every step by fingerprint. Raises StoreError where a record tells of other files than there are."""
    known = {**manifest["files"], **manifest["left_out"]}
    found: dict[str, Artifact] = {}
    for path in sorted(root.glob("steps/*/*/record.json")):
        record, folder = _record(path.parent), path.parent.relative_to(root).as_posix()
        for name, recorded in record.files.items():
            if known.get(f"{folder}/{name}") != {"sha256": recorded.sha256, "bytes": recorded.bytes}:
                raise StoreError(f"{folder}/{name} was changed, expected the content that its step recorded")
        found[record.fingerprint] = Artifact(record, path.parent)
    return found


def _record(directory: Path) -> Any:
    record = Records().read(directory)
    if record is None:
        raise StoreError(f"{directory.name}: has no record, expected one for every step of the bundle")
    return record


def _of_kind(steps: Mapping[str, Artifact], kind: str) -> list[Artifact]:
    return [artifact for artifact in steps.values() if artifact.record.kind == kind]


def _replace_task(root: Path, task_file: Path) -> None:
    names = [path.name for path in (root / TASKS).glob("*")]
    if task_file.name not in names:
        raise StudyError(
            f"--task-file: got {task_file.name!r}, expected a task of the bundle{nearest(task_file.name, names)}"
        )
    (root / TASKS / task_file.name).write_bytes(task_file.read_bytes())


def _task_name(artifact: Artifact, manifest: Mapping[str, Any]) -> str:
    name: str = artifact.record.circumstance["task"]
    return manifest["task_names"].get(name, name)


def _score(artifact: Artifact, steps: Mapping[str, Artifact], root: Path, manifest: Mapping[str, Any]) -> Artifact:
    """Run a score step over the bundle's files, code in a sandbox whatever the bundle says."""
    record = artifact.record
    directory = root.parent / "scored" / artifact.directory.name
    directory.mkdir(parents=True)
    holes = holes_of(record.inputs)
    lost = [name for name, needed in record.inputs.items() if name not in holes and needed not in steps]
    if lost:
        raise StoreError(f"{artifact.directory.name}: its {lost[0]} are missing, expected all that it was scored from")
    context = StepContext(
        settings=record.settings,
        circumstance={
            **record.circumstance,
            "task": _task_name(artifact, manifest),
            "folder": str(root / TASKS),
            "sandbox": "bubblewrap",
        },
        inputs={name: steps[str(needed)] for name, needed in record.inputs.items() if name not in holes},
        holes=holes,
        directory=directory,
        progress=_silent,
    )
    score.run(context)
    return Artifact(record, directory)


def _silent(done: int, total: int, unit: str) -> None:
    """Scoring takes seconds."""


def _compare(
    compared: Artifact, scored: Mapping[str, Artifact], root: Path, manifest: Mapping[str, Any], out: Path
) -> None:
    inputs = compared.record.inputs
    lost = {name: "" for name, needed in inputs.items() if needed not in scored}
    context = StepContext(
        settings=compared.record.settings,
        circumstance={"folder": str(root / TASKS), "task_names": manifest["task_names"]},
        inputs={name: scored[needed] for name, needed in inputs.items() if needed and needed in scored},
        holes=lost | holes_of(inputs),
        directory=out,
        progress=_silent,
    )
    compare.run(context)
    write_exports(read_json(out / compare.COMPARISON), manifest["study"], out)


def _outcome(
    steps: Mapping[str, Artifact],
    scored: Mapping[str, Artifact],
    compared: Artifact,
    root: Path,
    manifest: Mapping[str, Any],
    out: Path,
) -> Rescored:
    cells = {needed: name for name, needed in compared.record.inputs.items()}
    answers: dict[str, int] = {}
    differing: dict[str, int] = {}
    other: list[str] = []
    for fingerprint, now in scored.items():
        recorded = steps[fingerprint]
        name = cells.get(fingerprint, f"score/{recorded.directory.name}")
        before, after = (_by_answer(a.directory / score.SCORES) for a in (recorded, now))
        answers[name] = len(before)
        differing[name] = sum(not _close(before.get(k), after.get(k)) for k in {**before, **after})
        task = _task_name(recorded, manifest)
        if scorer_identity(find_task(task, root / TASKS), task, root / TASKS) != recorded.record.settings["scorer"]:
            other.append(name)
    same = _close(*(read_json(folder / compare.COMPARISON) for folder in (root, out)))
    return Rescored(manifest["study"], answers, differing, tuple(other), same)


def _by_answer(path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    return {(row["id"], row["sample"]): row for row in read_lines(path)}


def _close(one: Any, other: Any) -> bool:
    """Say whether two plain values are equal but for the last digits of their numbers."""
    if isinstance(one, float | int) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    if isinstance(one, dict) and isinstance(other, dict):
        left, right = cast(dict[str, Any], one), cast(dict[str, Any], other)
        return left.keys() == right.keys() and all(_close(left[key], right[key]) for key in left)
    if isinstance(one, list) and isinstance(other, list):
        pairs = cast(list[Any], one), cast(list[Any], other)
        return len(pairs[0]) == len(pairs[1]) and all(map(_close, *pairs))
    return one == other
