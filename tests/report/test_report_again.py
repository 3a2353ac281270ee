"""The file from which a study runs again: it asks for the same steps, and there is none where one file cannot."""

import pytest
from report_fakes import build, report_step

from tunelab.engine.plan import topological
from tunelab.files import read_json, write_json
from tunelab.report.again import again
from tunelab.report.evidence import TABLES, Evidence
from tunelab.study.entries import Train
from tunelab.study.open import open_study

OVERRIDES = ["seeds=[0,1,2]", "train=sft_chat,grpo_chat", "evaluation.rows=100", "hardware.micro_batch_size=16"]


def evidence(compiled):
    """What a report step of a plan has before anything ran."""
    settings = compiled.report.settings
    tables = {name: [] for name in TABLES}
    return Evidence(settings["study"], {}, {}, tables, settings["left_out"], {}, compiled.report.circumstance)


def made(compiled):
    """Fingerprints of all that decides about results."""
    return {s.name: s.fingerprint for s in topological([compiled.report]) if s.kind != "report"}


@pytest.mark.parametrize("smoke", [False, True])
def test_the_file_asks_for_the_same_steps_overrides_included(tmp_path, smoke):
    ran = open_study("quickstart", OVERRIDES, tmp_path / "store", smoke).compiled
    found = again(evidence(ran))
    assert found.command == "tunelab run study.json"
    write_json(tmp_path / "study.json", found.study)
    repeated = open_study(str(tmp_path / "study.json"), [], tmp_path / "store").compiled
    assert made(repeated) == made(ran)
    assert repeated.report.fingerprint == ran.report.fingerprint
    assert made(ran) != made(open_study("quickstart", [], tmp_path / "store", smoke).compiled)


def test_the_page_leads_to_the_file(tmp_path):
    recipe = {"method": "sft", "adaptation": "full", "loss": "all", "lr": 1e-4, "epochs": 1, "batch_size": 4}
    step = report_step({"base/raw": 20, "sft/raw": 40}, train={"sft": Train(**recipe, format="raw")})
    report = build(tmp_path, step)
    page = report.path("index.html").read_text(encoding="utf-8")
    assert "<pre>tunelab run study.json</pre>" in page
    assert '<a href="study.json" download>' in page
    assert read_json(report.path("study.json")) == step.settings["study"]


def test_points_of_a_sweep_are_run_again_by_name(tmp_path):
    report = build(tmp_path, report_step({"base/raw": 20, "sft@lr=0.1/raw": 40}))
    page = report.path("index.html").read_text(encoding="utf-8")
    assert "<pre>tunelab run templates</pre>" in page
    assert "Add the overrides" in page
    assert "study.json" not in report.record.files
