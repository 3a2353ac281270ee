"""A bundle holds what scoring again needs; what was changed in it, or is scored otherwise, is found."""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile

import pytest
import yaml
from judged_task import JUDGED, write_task
from study_files import ECHO_TASK, changed

from tunelab.engine.runner import Runner
from tunelab.errors import DataError, StoreError, StudyError
from tunelab.study.bundle import refuse_unfinished, write_bundle, zipped
from tunelab.study.open import only_finished, open_study
from tunelab.study.rescore import rescore

RECIPE = {
    "method": "sft",
    "adaptation": "full",
    "lr": 0.001,
    "epochs": 1,
    "batch_size": 8,
    "rows": 16,
    "loss": "completion",
}
BASELINES = {"sft": {"echo": 0.9, "sums": {"numeric": 0.0}}}
EVALUATE = {"sums": {"format": "chat"}, "echo": {"format": "chat", "task": "mine/echo.py:Echo"}}
RAW = changed(train={"sft": {"format": "chat"}}, recipe=RECIPE, evaluation={"rows": 8, "max_new_tokens": 8},
              evaluate=EVALUATE, baselines=BASELINES)  # fmt: skip


class Silent:
    def started(self, step):
        pass

    progressed = ended = lambda self, *_: None


def study_file(folder, raw=RAW):
    (folder / "mine").mkdir(exist_ok=True)
    (folder / "mine" / "echo.py").write_text(ECHO_TASK)
    (folder / "study.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return str(folder / "study.yaml")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A folder in which a small study with a task of its own has run, and its bundle."""
    folder = tmp_path_factory.mktemp("study")
    opened = open_study(study_file(folder), [], folder / "store")
    outcome = Runner(opened.store, Silent()).run(opened.targets())
    assert outcome.ok
    write_bundle(opened, outcome, folder / "out.zip")
    return folder


def contents(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def listing(files):
    """What a manifest says of files, by hand."""
    return {n: {"sha256": hashlib.sha256(c).hexdigest(), "bytes": len(c)} for n, c in files.items() if n != MANIFEST}


MANIFEST = "manifest.json"


def forged(path, files):
    """Write a bundle whose manifest is right for what it holds."""
    manifest = json.loads(files[MANIFEST]) | {"files": listing(files)}
    path.write_bytes(zipped({**files, MANIFEST: json.dumps(manifest).encode()}))
    return path


def named(files, *parts):
    """The one file whose name has all the parts."""
    [found] = [name for name in files if all(part in name for part in parts)]
    return found


def test_the_same_store_gives_the_same_bytes_and_every_file_is_listed(ran, tmp_path):
    opened = open_study(str(ran / "study.yaml"), [], ran / "store")
    refuse_unfinished(opened)
    write_bundle(opened, Runner(opened.store, Silent()).run(opened.targets()), tmp_path / "out.zip")
    assert (tmp_path / "out.zip").read_bytes() == (ran / "out.zip").read_bytes()
    files = contents(ran / "out.zip")
    assert json.loads(files[MANIFEST])["files"] == listing(files)


def test_a_bundle_holds_rows_outputs_scores_and_receipts_and_no_weights_or_folders_of_the_machine(ran):
    files = contents(ran / "out.zip")
    kinds = {name.split("/")[1] for name in files if name.startswith("steps/")}
    assert kinds == {"prepare", "check", "train", "generate", "score", "compare", "report"}
    for name in ("README.txt", "study.json", "configs/sft.json", "tasks/echo.py", "comparison.json",
                 "final_metrics.csv", "final_metrics.json", "summary.csv", "report/index.html"):  # fmt: skip
        assert name in files
    named(files, "steps/train/", "metrics.jsonl")
    named(files, "steps/train/", "example.txt")
    assert not [name for name in files if name.endswith((".safetensors", ".bin", ".pt"))]
    weights = [name for name in json.loads(files[MANIFEST])["left_out"] if name.endswith(".safetensors")]
    assert len(weights) == 1
    assert not [name for name, content in files.items() if str(ran).encode() in content]


def test_scoring_again_gives_the_recorded_comparison_and_tables(ran, tmp_path):
    found = rescore(ran / "out.zip", tmp_path / "again")
    assert found.same
    assert found.differing == {"base/sums": 0, "base/echo": 0, "sft/sums": 0, "sft/echo": 0}
    assert set(found.answers.values()) == {8}
    files = contents(ran / "out.zip")
    for name in ("comparison.json", "final_metrics.json", "final_metrics.csv", "summary.csv"):
        assert (tmp_path / "again" / name).read_bytes() == files[name]


def test_scoring_again_loads_no_model_library(ran, tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from tunelab.study.rescore import rescore\n"
        f"assert rescore(Path({str(ran / 'out.zip')!r}), Path({str(tmp_path / 'out')!r})).same\n"
        "assert not {'torch', 'transformers', 'trl', 'peft', 'datasets'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_an_altered_byte_is_found_and_named(ran, tmp_path):
    files = contents(ran / "out.zip")
    for name in (named(files, "steps/generate/sft-sums", "outputs.jsonl"), "summary.csv", "tasks/echo.py"):
        altered = files[name].replace(b"e", b"f", 1)
        assert altered != files[name]
        (tmp_path / "out.zip").write_bytes(zipped({**files, name: altered}))
        with pytest.raises(StoreError, match=f"{name} was changed"):
            rescore(tmp_path / "out.zip", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_row_taken_away_is_found_though_the_manifest_and_the_record_were_made_to_fit(ran, tmp_path):
    files = contents(ran / "out.zip")
    outputs = named(files, "steps/generate/sft-sums", "outputs.jsonl")
    shorter = files[outputs].split(b"\n", 1)[1]
    with pytest.raises(StoreError, match=f"{outputs} was changed, expected the content that its step recorded"):
        rescore(forged(tmp_path / "a.zip", {**files, outputs: shorter}), tmp_path / "again")
    record_name = outputs.replace("outputs.jsonl", "record.json")
    record = json.loads(files[record_name])
    record["files"]["outputs.jsonl"] = listing({"x": shorter})["x"]
    both = {**files, outputs: shorter, record_name: json.dumps(record).encode()}
    found = rescore(forged(tmp_path / "b.zip", both), tmp_path / "again")
    assert found.differing == {"base/sums": 0, "base/echo": 0, "sft/sums": 1, "sft/echo": 0}
    assert not found.same
    rows = json.loads((tmp_path / "again" / "final_metrics.json").read_text())
    [row] = [r for r in rows if (r["variant"], r["evaluation"]) == ("sft", "sums")]
    assert (row["error"], row["value"], row["n"]) == ("n: got 7, expected 8 (1 of 8 unanswered)", None, 7)


def test_files_that_were_added_or_taken_away_are_named(ran, tmp_path):
    files = contents(ran / "out.zip")
    (tmp_path / "more.zip").write_bytes(zipped({**files, "extra.txt": b"x"}))
    with pytest.raises(StoreError, match=r"extra.txt is not in manifest.json"):
        rescore(tmp_path / "more.zip", tmp_path / "again")
    (tmp_path / "less.zip").write_bytes(zipped({n: c for n, c in files.items() if n != "summary.csv"}))
    with pytest.raises(StoreError, match=r"summary.csv is missing"):
        rescore(tmp_path / "less.zip", tmp_path / "again")


@pytest.mark.parametrize("name", ["../outside.txt", "/tmp/outside.txt", "steps/../../outside.txt", "C:\\outside.txt"])
def test_a_name_that_leads_out_of_the_bundle_is_refused_before_anything_is_written(ran, tmp_path, name):
    bundle = forged(tmp_path / "out.zip", {**contents(ran / "out.zip"), name: b"x"})
    with pytest.raises(StoreError, match="expected one within the bundle"):
        rescore(bundle, tmp_path / "again")
    assert {path.name for path in tmp_path.iterdir()} == {"out.zip"}


@pytest.mark.parametrize("content", [b"no zip", zipped({"a.txt": b"x"})])
def test_what_is_no_bundle_is_refused(tmp_path, content):
    (tmp_path / "out.zip").write_bytes(content)
    with pytest.raises(DataError, match="expected a bundle that `tunelab export` wrote"):
        rescore(tmp_path / "out.zip", tmp_path / "again")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice_is_refused(ran, tmp_path):
    shutil.copy(ran / "out.zip", tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip", "a") as archive:
        archive.writestr("summary.csv", archive.read("summary.csv"))
    with pytest.raises(StoreError, match=r"summary\.csv is not in manifest\.json or is there twice"):
        rescore(tmp_path / "out.zip", tmp_path / "again")


WHOLE = {"format": 1, "study": "s", "compare": "c", "left_out": {}, "task_names": {}, "files": {"c/record.json": {}}}


@pytest.mark.parametrize(
    "manifest",
    [b"no json", b"\xff", b"[]", b"{}", b'{"format": "1"}',
     *(json.dumps({**WHOLE, name: 1}).encode() for name in WHOLE if name != "format"),
     json.dumps({**WHOLE, "compare": "../elsewhere"}).encode(),
     json.dumps({**WHOLE, "files": {"c/record.json": 1}}).encode()],
)  # fmt: skip
def test_a_manifest_that_export_cannot_have_written_is_refused(tmp_path, manifest):
    (tmp_path / "out.zip").write_bytes(zipped({MANIFEST: manifest, "c/record.json": b"{}"}))
    with pytest.raises(DataError, match=r"manifest.json has other fields than expected"):
        rescore(tmp_path / "out.zip", tmp_path / "again")


def test_a_bundle_of_a_newer_format_is_refused(tmp_path):
    (tmp_path / "out.zip").write_bytes(zipped({MANIFEST: json.dumps({**WHOLE, "format": 2}).encode()}))
    with pytest.raises(StoreError, match="got format 2, expected 1 or lower"):
        rescore(tmp_path / "out.zip", tmp_path / "again")


def test_another_scorer_is_named_and_its_verdicts_counted(ran, tmp_path):
    lenient = ECHO_TASK.replace("output == sample.targets[0]", "True")
    (tmp_path / "echo.py").write_text(lenient)
    found = rescore(ran / "out.zip", tmp_path / "again", tmp_path / "echo.py")
    assert found.differing == {"base/sums": 0, "base/echo": 8, "sft/sums": 0, "sft/echo": 8}
    assert set(found.other_scorers) == {"base/echo", "sft/echo"}
    assert not found.same_comparison
    (tmp_path / "other.py").write_text(lenient)
    with pytest.raises(StudyError, match=r"got 'other.py', expected a task of the bundle"):
        rescore(ran / "out.zip", tmp_path / "again", tmp_path / "other.py")


def test_an_unfinished_study_is_refused_and_its_finished_part_can_be_exported(ran, tmp_path):
    shutil.copytree(ran / "store", tmp_path / "store")
    for folder in (*(tmp_path / "store" / "score").glob("sft-sums-*"), *(tmp_path / "store").glob("compare/*")):
        shutil.rmtree(folder)
    opened = open_study(str(ran / "study.yaml"), [], tmp_path / "store")
    with pytest.raises(StudyError, match=r"steps are not finished, like score/sft-sums-.*--partial"):
        refuse_unfinished(opened)
    part = only_finished(opened)
    write_bundle(part, Runner(part.store, Silent()).run(part.targets()), tmp_path / "part.zip")
    found = rescore(tmp_path / "part.zip", tmp_path / "again")
    assert found.same
    assert set(found.answers) == {"base/sums", "base/echo", "sft/echo"}
    rows = json.loads((tmp_path / "again" / "final_metrics.json").read_text())
    [hole] = [r for r in rows if (r["variant"], r["evaluation"]) == ("sft", "sums")]
    assert (hole["value"], hole["error"], hole["verdict"]) == (None, "no result", "missing")


def test_a_judge_that_was_nowhere_is_a_hole_when_scored_again_with_its_reason(tmp_path):
    judges = {"gone": {"kind": "causal", "model": "./nowhere"}, "refusals": {"kind": "refusals"}}
    evaluate = {"harm": {"format": "chat", "judges": ["gone", "refusals"]}}
    write_task(tmp_path)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**JUDGED, "judges": judges, "evaluate": evaluate}))
    opened = open_study(str(tmp_path / "study.yaml"), [], tmp_path / "store")
    Runner(opened.store, Silent()).run(opened.targets())
    held = only_finished(opened)
    write_bundle(held, Runner(held.store, Silent()).run(held.targets()), tmp_path / "out.zip")
    found = rescore(tmp_path / "out.zip", tmp_path / "again")
    assert found.same
    assert found.differing == {"base/harm": 0}
    [cell] = json.loads((tmp_path / "again" / "comparison.json").read_text())["cells"]
    assert cell["metrics"]["safe"]["value"] is None
    assert cell["metrics"]["safe_by_refusals"]["value"] == 0.0
    assert cell["no_verdicts"]["gone"].startswith("judge gone: model './nowhere'")
