"""Logs for other programs: their fields as recorded from the real ones, our values, and nothing that we do not know.

``recorded/`` has the fields of what lm-evaluation-harness 0.4.13 wrote in a run, and those of Inspect AI 0.3.285's
models, required ones apart.
"""

import json
import math
import statistics
from pathlib import Path

import pytest
import yaml

from tunelab.errors import StudyError
from tunelab.files import read_json, read_lines
from tunelab.publish.finished import finished
from tunelab.publish.inspect_log import write_inspect
from tunelab.publish.lm_eval import aggregated as aggregated_log
from tunelab.publish.lm_eval import write_lm_eval
from tunelab.study.api import run
from tunelab.study.open import open_study
from tunelab.study.read import read_study

RECORDED = Path(__file__).parent / "recorded"
HARNESS = read_json(RECORDED / "lm_eval_0.4.13.json")
INSPECT = read_json(RECORDED / "inspect_ai_0.3.285.json")
OWN = {"tunelab", "tunelab_version"}
"""What we add to the harness's results."""
NOT_OURS = {"lm_eval_version", "git_hash", "upper_git_hash", "pretty_env_info"}


@pytest.fixture(scope="session")
def cells(results):
    return finished(open_study(str(results / "small.yaml"), (), results / ".tunelab"))


@pytest.fixture(scope="session")
def harness(cells, tmp_path_factory):
    folder = tmp_path_factory.mktemp("harness")
    write_lm_eval(cells, folder)
    return folder


@pytest.fixture(scope="session")
def logs(cells, tmp_path_factory):
    return [read_json(path) for path in write_inspect(cells, tmp_path_factory.mktemp("inspect"))]


def aggregated(harness, variant):
    [path] = (harness / variant).glob("results_*.json")
    return read_json(path)


def test_every_variant_has_a_folder_with_the_harnesss_fields(harness):
    assert {path.name for path in harness.iterdir()} == {"base", "full", "adapter"}
    for variant in ("base", "full"):
        found = aggregated(harness, variant)
        assert set(found) - OWN <= set(HARNESS["results"])
        assert set(HARNESS["run"]) >= set(found["config"])
        assert not NOT_OURS & set(found)
        for task in ("arithmetic_chat", "arithmetic_raw"):
            assert set(HARNESS["config"]) >= set(found["configs"][task])
            assert {"name", "alias", "sample_len"} < set(found["results"][task])
            assert found["n-samples"][task] == {"original": 1000, "effective": 20}
            assert (found["n-shot"][task], found["higher_is_better"][task]) == (0, {"numeric": True})


def test_only_what_all_tasks_have_in_common_is_said_of_the_whole_run(cells):
    chat, raw = (cell for cell in cells if cell.cell.variant.name == "base")
    found = aggregated_log("base", [raw, chat], {}, chat.score.record.finished)
    assert found["config"]["gen_kwargs"] == {"max_gen_toks": 16, "do_sample": False}
    stops = [config["generation_kwargs"]["until"] for config in found["configs"].values()]
    assert stops == [["\nQuestion:"], []]
    alone = aggregated_log("base", [raw], {}, raw.score.record.finished)
    assert alone["config"]["gen_kwargs"]["until"] == ["\nQuestion:"]


def test_the_harnesss_values_are_those_of_the_comparison(harness, results):
    told = {c["cell"]: c for c in read_json(results / "results" / "small" / "comparison.json")["cells"]}
    for variant in ("base", "full", "adapter"):
        for evaluation in ("chat", "raw"):
            found = aggregated(harness, variant)["results"][f"arithmetic_{evaluation}"]
            assert found["numeric,none"] == told[f"{variant}/{evaluation}"]["metrics"]["numeric"]["value"]
            [path] = (harness / variant).glob(f"samples_arithmetic_{evaluation}_*.jsonl")
            values = [row["numeric"] for row in read_lines(path)]
            assert found["numeric,none"] == pytest.approx(statistics.mean(values))
            assert found["numeric_stderr,none"] == pytest.approx(statistics.stdev(values) / math.sqrt(20))


def test_logged_samples_have_the_harnesss_fields_and_the_prompts_that_were_sent(harness, results):
    [path] = (harness / "base").glob("samples_arithmetic_chat_*.jsonl")
    told = {r["id"]: r for r in read_json(results / "results" / "small" / "eval" / "base_eval_chat" / "results.json")}
    rows = read_lines(path)
    assert set(rows[0]) == (set(HARNESS["sample"]) - {"exact_match"}) | {"numeric"}
    assert [row["doc_id"] for row in rows] == sorted(row["doc_id"] for row in rows)
    for row in rows:
        recorded = told[row["doc"]["id"]]
        assert row["arguments"]["gen_args_0"]["arg_0"] == recorded["prompt"]
        assert (row["resps"], row["filtered_resps"]) == ([[recorded["output"]]], [recorded["answer"]])
    assert rows[0]["arguments"]["gen_args_0"]["arg_1"]["max_gen_toks"] == 16


def test_what_was_exported_for_the_harness_can_be_imported_and_scores_the_same(harness, results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [path] = (harness / "full").glob("samples_arithmetic_chat_*.jsonl")
    study = yaml.safe_load((results / "small.yaml").read_text())
    study |= {"train": {}, "evaluate": {"chat": {"format": "chat", "of": ["again"]}}}
    study |= {"outputs": {"again": {"chat": str(path)}}}
    (tmp_path / "back.yaml").write_text(yaml.safe_dump(study))
    [(_, read)] = read_study("back.yaml")
    [cell] = run(read)["cells"]
    told = {c["cell"]: c for c in read_json(results / "results" / "small" / "comparison.json")["cells"]}
    assert (cell["n"], cell["metrics"]) == (20, told["full/chat"]["metrics"])
    assert cell["outcomes"]["truncated"] == 0  # the harness does not log how an output ended


def parts(log):
    """Each part of a log under the name of Inspect's model of it."""
    yield "log", log
    yield "eval", log["eval"]
    yield "dataset", log["eval"]["dataset"]
    yield "config", log["eval"]["config"]
    yield "generate", log["eval"]["model_generate_config"]
    yield "plan", log["plan"]
    yield "results", log["results"]
    yield "stats", log["stats"]
    for score in log["results"]["scores"]:
        yield "score", score
        for metric in score["metrics"].values():
            yield "metric", metric
    for sample in log["samples"]:
        yield "sample", sample
        yield "output", sample["output"]
        for choice in sample["output"]["choices"]:
            yield "choice", choice
        for value in sample["scores"].values():
            yield "value", value
    for usage in log["stats"]["model_usage"].values():
        yield "usage", usage


def test_an_inspect_log_has_only_fields_of_inspect_and_all_that_it_requires(logs):
    assert len(logs) == 6
    for log in logs:
        for name, part in parts(log):
            assert set(part) <= set(INSPECT["fields"][name]), name
            assert set(INSPECT["required"].get(name, ())) <= set(part), name
        assert (log["version"], log["status"]) == (2, "success")


def test_an_inspect_logs_values_are_those_of_the_comparison(logs, results):
    told = {c["cell"]: c for c in read_json(results / "results" / "small" / "comparison.json")["cells"]}
    for log in logs:
        about = log["eval"]["metadata"]
        cell = told[f"{about['variant']}/{about['evaluation']}"]
        [score] = log["results"]["scores"]
        assert score["metrics"]["mean"]["value"] == cell["metrics"]["numeric"]["value"]
        values = [sample["scores"]["numeric"]["value"] for sample in log["samples"]]
        assert score["metrics"]["mean"]["value"] == pytest.approx(statistics.mean(values))
        assert {sample["epoch"] for sample in log["samples"]} == {1}
        assert all(s["messages"][-1]["content"] == s["output"]["completion"] for s in log["samples"])


def test_a_study_without_results_has_nothing_to_export(results, tmp_path):
    opened = open_study(str(results / "small.yaml"), (), tmp_path)
    with pytest.raises(StudyError, match="has no scored cell"):
        finished(opened)


def test_export_writes_either_format_and_refuses_a_folder_with_something_in_it(desk, tmp_path):
    for kind, files in (("lm-eval", 9), ("inspect", 6)):
        done = desk.run("export", "small.yaml", str(tmp_path / kind), "--format", kind)
        assert (done.returncode, f"({files} files)" in done.stdout) == (0, True), done.stderr
        assert len([path for path in (tmp_path / kind).rglob("*") if path.is_file()]) == files
    again = desk.run("export", "small.yaml", str(tmp_path / "inspect"), "--format", "inspect")
    assert (again.returncode, "expected a new or an empty folder" in again.stderr) == (2, True)


def test_logs_are_json_without_constants_that_it_does_not_have(harness):
    for path in harness.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
