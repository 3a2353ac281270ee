"""A study in one file: what another person needs to score every answer again, without a GPU, a model or a network.

    README.txt, manifest.json    how to use it; sha256 and size of every other file, and what was left out
    study.json, configs/         the resolved study, and each trained variant as a study of its own
    steps/<kind>/<step>/         record and files of every finished step: rows, worked examples, outputs, verdicts,
                                 scores, receipts, training metrics; weights are left out
    tasks/                       the user's task files
    comparison.json, final_metrics.*, summary.csv, report/

The same store and file name give the same bytes. Folders of the machine are taken out of the records, unless the reason
of a missing result names one: the results that are scored again say it too.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from io import BytesIO
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from tunelab.engine.plan import Status, topological
from tunelab.engine.record import Artifact
from tunelab.engine.runner import Outcome, artifact_of
from tunelab.errors import StoreError, StudyError
from tunelab.files import read_json, write_bytes
from tunelab.study.configurations import configuration, portable, unique_names
from tunelab.study.exports import write_exports
from tunelab.study.layout import file_name
from tunelab.study.open import Opened
from tunelab.study.steps.files import COMPARISON
from tunelab.tasks.find import file_of, is_file
from tunelab.tasks.mixed import JOINT

FORMAT = 1
MANIFEST, README, RECORD, TASKS = "manifest.json", "README.txt", "record.json", "tasks"
WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf"}
WEIGHT_FOLDERS = {"model", "models", "checkpoints"}
TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip can hold, for every file."""
Files = dict[str, bytes]

ABOUT = """{study}: rows, outputs and scores of a study, made by tunelab {version}.

Score every answer again, without a model, a GPU or a network:

    pip install tunelab
    tunelab rescore {name} --out rescored

It checks every file against manifest.json, scores the recorded outputs with the installed scorers, says how many
verdicts differ from the recorded ones, and writes comparison.json, final_metrics.json, final_metrics.csv and
summary.csv. It ends with 1 when anything differs. Python files under tasks/ are run: read them first, or give your
own with --task-file. study.json is the study with every default; weights are not in here.
"""


def refuse_unfinished(opened: Opened) -> None:
    """Raise StudyError for a study that has steps left to run."""
    steps = opened.plan().steps
    owed = [planned.step.name for planned in steps if planned.status is not Status.CACHED]
    if owed:
        raise StudyError(
            f"{opened.name}: {len(owed)} of {len(steps)} steps are not finished, like {owed[0]}; "
            "run the study first, or export what is there with --partial"
        )


def write_bundle(opened: Opened, outcome: Outcome, path: Path) -> int:
    """Write the bundle of a run that is finished as far as it goes, and return how many files it has.

    Raises StoreError when the run has no comparison: there would be nothing to score again.
    """
    compared = artifact_of(opened.store, outcome, opened.compiled.compare)
    if compared is None:
        raise StoreError(f"{opened.name}: has no comparison, expected a scored cell; run the study first")
    steps = [a for step in topological(opened.targets()) if (a := artifact_of(opened.store, outcome, step))]
    files, left_out = _steps(steps, opened)
    task_names, task_files = _tasks(steps, opened.compiled.folder)
    files |= {**task_files, **_study(opened, steps), **_results(opened, outcome, compared)}
    files[README] = ABOUT.format(study=opened.name, version=version("tunelab"), name=path.name).encode()
    manifest = {
        "format": FORMAT,
        "tunelab": version("tunelab"),
        "study": opened.name,
        "compare": step_folder(compared),
        "task_names": task_names,
        "left_out": left_out,
        "files": {name: entry(content) for name, content in sorted(files.items())},
    }
    write_bytes(path, zipped({**files, MANIFEST: _json(manifest)}))
    return len(files) + 1


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return a zip of the files that depends on their names and contents alone."""
    made = BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            info = zipfile.ZipInfo(name, TIME)
            info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            archive.writestr(info, content)
    return made.getvalue()


def entry(content: bytes) -> dict[str, Any]:
    """Return a file's line of the manifest."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def step_folder(artifact: Artifact) -> str:
    """Return the folder of a step in the bundle."""
    return f"steps/{artifact.record.kind}/{artifact.directory.name}"


def _steps(steps: Iterable[Artifact], opened: Opened) -> tuple[Files, dict[str, Any]]:
    """Return the files of every step, and what is left out of them as weights."""
    files: Files = {}
    left_out: dict[str, Any] = {}
    for artifact in steps:
        artifact.verify()
        folder = step_folder(artifact)
        files[f"{folder}/{RECORD}"] = _record(artifact, opened)
        for name, recorded in artifact.record.files.items():
            if _is_weights(PurePosixPath(name)):
                left_out[f"{folder}/{name}"] = {"sha256": recorded.sha256, "bytes": recorded.bytes}
            else:
                files[f"{folder}/{name}"] = (artifact.directory / name).read_bytes()
    return files, left_out


def _is_weights(path: PurePosixPath) -> bool:
    return path.suffix in WEIGHTS or bool(WEIGHT_FOLDERS & set(path.parts[:-1]))


def _record(artifact: Artifact, opened: Opened) -> bytes:
    """A record without the folders of this machine; what identifies the step stays as it is."""
    record = artifact.record.to_json()
    left_out = ("folder", "data", "model", "tokenizer", "judges")
    record["circumstance"] = {k: v for k, v in record["circumstance"].items() if k not in left_out}
    text = json.dumps(record, ensure_ascii=False)
    for place in (opened.store.root.resolve(), opened.compiled.folder.resolve(), Path.home()):
        text = text.replace(json.dumps(str(place), ensure_ascii=False)[1:-1] + "/", "")
    return _json({**json.loads(text), "settings": record["settings"], "inputs": record["inputs"]})


def _tasks(steps: Iterable[Artifact], folder: Path) -> tuple[dict[str, str], Files]:
    """Return by what name each of the user's tasks is found in the bundle, and the files."""
    known = [a.record.circumstance["task"] for a in steps if "task" in a.record.circumstance]
    named = {task for joint in known for task in joint.split(JOINT)}
    paths = {name: file_of(name, folder) for name in sorted(named) if is_file(name)}
    names = unique_names(sorted({str(path) for path, _ in paths.values()}))
    files = {f"{TASKS}/{name}": Path(path).read_bytes() for path, name in names.items()}
    return {name: f"{names[str(path)]}:{kind}" for name, (path, kind) in paths.items()}, files


def _study(opened: Opened, steps: Iterable[Artifact]) -> Files:
    compiled = opened.compiled
    trained = {a.record.fingerprint for a in steps}
    variants = [v for v, step in compiled.train.items() if step.fingerprint in trained]
    configs = {f"configs/{file_name(v)}.json": _json(portable(configuration(compiled, v))) for v in variants}
    return {"study.json": _json(compiled.study.model_dump(mode="json")), **configs}


def _results(opened: Opened, outcome: Outcome, compared: Artifact) -> Files:
    """The comparison, its tables and the report, once more where a person looks for them."""
    with TemporaryDirectory() as folder:
        write_exports(read_json(compared.path(COMPARISON)), opened.name, Path(folder))
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    files[COMPARISON] = compared.path(COMPARISON).read_bytes()
    report = artifact_of(opened.store, outcome, opened.compiled.report)
    for name in report.record.files if report else ():
        assert report is not None
        files[f"report/{name}"] = (report.directory / name).read_bytes()
    return files


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
