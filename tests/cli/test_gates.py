"""Thresholds, denominators, tables and bundles, as a user meets them on the command line."""

import csv
import json
import shutil
import zipfile

import pytest

STUDY = """
study: gated
question: Is it good enough?
model: tiny
task: arithmetic
formats: {chat: {template: chat}}
evaluation: {rows: 8, max_new_tokens: 8}
evaluate: {sums: {format: chat, expected: 8}}
"""


@pytest.fixture
def gated(tunelab, tmp_path):
    """Run a study without training, with overrides."""
    (tmp_path / "gated.yaml").write_text(STUDY)
    return lambda *arguments, verb="run": tunelab(verb, "gated.yaml", *arguments)


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_gate_is_about_one_variant_and_a_wrong_name_is_refused_before_it_runs(gated, tmp_path):
    refused = gated("baselines.bas.sums=0.5", "--gate")
    assert refused.returncode == 2
    assert "baselines: got 'bas', expected a variant; did you mean 'base'?" in refused.stderr
    assert not (tmp_path / ".tunelab").exists()
    met = gated("baselines.base.sums=0.0", "--gate")
    assert met.returncode == 0, met.stderr
    assert "threshold: base/sums numeric at least 0.0: pass: " in met.stdout
    assert "the interval reaches from " in met.stdout
    failed = gated("baselines.base.sums=1.01", "--gate")
    assert failed.returncode == 3
    assert gated("baselines.base.sums=1.01").returncode == 0
    [row] = table(tmp_path / "results" / "gated" / "final_metrics.csv")
    assert (row["n"], row["expected_n"], row["threshold"], row["verdict"], row["error"]) == (
        "8", "8", "1.01", "fail", "")  # fmt: skip
    [wide] = table(tmp_path / "results" / "gated" / "summary.csv")
    assert (wide["variant"], wide["sums_n"], wide["sums_threshold_verdict"]) == ("base", "8", "fail")


def test_another_n_than_expected_ends_with_an_error_and_no_value(gated, tmp_path):
    ended = gated("evaluate.sums.expected=9", "baselines.base.sums=0.0", "--gate")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "tunelab: base/sums: n: got 8, expected 9"
    assert "✗ wrong n" in ended.stdout
    results = tmp_path / "results" / "gated"
    [row] = table(results / "final_metrics.csv")
    assert (row["value"], row["n"], row["expected_n"], row["error"]) == ("", "8", "9", "n: got 8, expected 9")
    [cell] = json.loads((results / "comparison.json").read_text())["cells"]
    assert cell["error"] == "n: got 8, expected 9"
    page = (results / "report" / "index.html").read_text()
    assert page.count("n: got 8, expected 9") == 3  # the banner, the cell, the table of denominators
    assert gated().returncode == 0


def test_a_bundle_goes_from_one_machine_to_another(tunelab, finished, tmp_path):
    store = ("--smoke", "--store", str(finished / ".tunelab"))
    made = tunelab("export", "quickstart", "out.zip", *store)
    assert made.returncode == 0, made.stderr
    again = tunelab("rescore", "out.zip", "--out", "again")
    assert again.returncode == 0, again.stderr
    assert "the comparison are the same" in again.stdout
    recorded = finished / "results" / "quickstart-smoke"
    for name in ("comparison.json", "final_metrics.json", "final_metrics.csv", "summary.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (recorded / name).read_bytes()
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "changed.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content.replace(b"1", b"2", 1) if name.endswith("outputs.jsonl") else content)
    found = tunelab("rescore", "changed.zip")
    assert found.returncode == 1
    assert "outputs.jsonl was changed" in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_an_unfinished_study_is_exported_only_when_asked(tunelab, finished, tmp_path):
    shutil.copytree(finished / ".tunelab", tmp_path / ".tunelab")
    shutil.rmtree(next((tmp_path / ".tunelab" / "score").glob("sft_chat-raw-*")))
    refused = tunelab("export", "quickstart", "out.zip", "--smoke")
    assert refused.returncode == 2
    assert "--partial" in refused.stderr
    assert not (tmp_path / "out.zip").exists()
    assert tunelab("export", "quickstart", "out.zip", "--smoke", "--partial").returncode == 0
    again = tunelab("rescore", "out.zip")
    assert again.returncode == 0, again.stderr + again.stdout
    assert "hole: sft_chat/raw" in again.stdout
