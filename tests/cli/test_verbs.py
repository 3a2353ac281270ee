"""The verbs, run as a user runs them."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tunelab.engine.lease import is_held
from tunelab.files import read_json, write_json


def test_help_names_every_verb_and_imports_nothing_heavy():
    code = "import sys; sys.argv = ['tunelab', '--help']\nfrom tunelab.cli import main\n"
    code += "try:\n main()\nexcept SystemExit:\n"
    code += (
        " heavy = {'torch', 'transformers', 'pydantic', 'numpy', 'pandas', 'yaml'} & set(sys.modules)\n print(heavy)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for verb in (
        "run",
        "plan",
        "report",
        "show",
        "explain",
        "score",
        "data",
        "export",
        "rescore",
        "push",
        "studies",
        "schema",
        "doctor",
    ):
        assert f" {verb} " in result.stdout
    assert result.stdout.strip().endswith("set()")


def test_plan_counts_every_step_and_runs_none(tunelab, tmp_path):
    planned = json.loads(tunelab("plan", "quickstart", "--json").stdout)
    assert set(planned["counts"]) == {"cached", "to_run", "blocked"}
    assert planned["counts"]["to_run"] == len(planned["steps"]) > 0
    assert not (tmp_path / ".tunelab").exists()


def test_a_finished_study_has_nothing_left_to_run(tunelab, finished, tmp_path):
    planned = json.loads(
        tunelab("plan", "quickstart", "--smoke", "--json", "--store", str(finished / ".tunelab")).stdout
    )
    assert planned["counts"]["to_run"] == planned["counts"]["blocked"] == 0


def test_results_are_linked_by_the_names_that_people_use(finished):
    folder = finished / "results" / "quickstart-smoke"
    assert (folder / "models" / "sft_chat" / "model.safetensors").is_file()
    summary = json.loads((folder / "eval" / "sft_chat_eval_raw" / "summary.json").read_text())
    results = json.loads((folder / "eval" / "sft_chat_eval_raw" / "results.json").read_text())
    assert summary["n"] == len(results) == 32
    for name in ("index.html", "comparison.csv", "comparison.md", "accuracy_bar.png", "accuracy_grouped.png"):
        assert (folder / "report" / name).is_file()


def test_a_configuration_beside_the_results_repeats_no_work(tunelab, finished):
    configs = finished / "results" / "quickstart-smoke" / "configs"
    models = finished / "results" / "quickstart-smoke" / "models"
    assert {path.stem for path in configs.iterdir()} == {path.name for path in models.iterdir()}
    for path in configs.iterdir():
        planned = json.loads(tunelab("plan", str(path), "--json", "--store", str(finished / ".tunelab")).stdout)
        owed = {step["kind"] for step in planned["steps"] if step["status"] != "cached"}
        assert owed == {"compare", "report"}
        assert "train" in {step["kind"] for step in planned["steps"]}


def test_deleting_the_results_folder_loses_no_work(tunelab, finished, tmp_path):
    arguments = ("--smoke", "--store", str(finished / ".tunelab"), "--results", str(tmp_path / "again"))
    result = tunelab("run", "quickstart", *arguments)
    assert "cached" in result.stdout
    assert " done" not in result.stdout
    assert (tmp_path / "again" / "quickstart-smoke" / "report" / "index.html").is_file()


def test_show_prints_the_table_and_its_data(tunelab, finished):
    results = str(finished / "results")
    shown = " ".join(tunelab("show", "quickstart-smoke", "--results", results).stdout.split())
    assert "Does fine-tuning help, and does it matter" in shown
    assert "This smoke run is too small to conclude anything" in shown
    assert "sft_raw_completion" in shown
    comparison = json.loads(tunelab("show", "quickstart-smoke", "--json", "--results", results).stdout)
    assert len(comparison["cells"]) == 10
    assert len(comparison["comparisons"]) == 8


def test_show_prints_a_table_of_the_report_for_other_programs(tunelab, finished):
    results = finished / "results"
    for suffix, kind in (("csv", "csv"), ("md", "md"), ("tex", "latex")):
        printed = tunelab("show", "quickstart-smoke", "--format", kind, "--results", str(results)).stdout
        assert printed == (results / "quickstart-smoke" / "report" / "tables" / f"results.{suffix}").read_text()
    rows = json.loads(tunelab("show", "quickstart-smoke", "--format", "json", "--results", str(results)).stdout)
    assert len(rows) == 10
    wrong = tunelab("show", "quickstart-smoke", "--format", "csv", "--table", "effect", "--results", str(results))
    assert "did you mean 'effects'?" in wrong.stderr


def test_explain_names_the_setting_that_was_changed(tunelab, finished):
    store = str(finished / ".tunelab")
    arguments = ("--study", "quickstart", "--smoke", "--set", "recipe.lr=0.5", "--store", store)
    result = tunelab("explain", "train/sft_chat", *arguments)
    assert "not finished and would run" in result.stdout
    assert "settings.recipe.lr: 0.0001 → 0.5" in result.stdout


def test_a_variant_that_fails_is_a_hole_and_the_rest_is_reported(tunelab, finished, tmp_path):
    arguments = ("--smoke", "--store", str(finished / ".tunelab"))
    result = tunelab("run", "quickstart", "train.sft_chat.max_length=5", "train.sft_chat.max_too_long=0.5", *arguments)
    assert result.returncode == 1
    assert "longer than max_length = 5" in result.stdout
    assert "hole: sft_chat/raw" in result.stdout
    page = (tmp_path / "results" / "quickstart-smoke" / "report" / "index.html").read_text()
    assert "train/sft_chat</code>: training rows: 96 of 96 are longer" in page
    assert "sft_raw_all" in page


def test_a_damaged_file_is_not_used_and_nothing_is_deleted(tunelab, finished, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(finished / ".tunelab", store)
    shutil.rmtree(next((store / "score").glob("sft_chat-raw-*")))
    outputs = next((store / "generate").glob("sft_chat-raw-*")) / "outputs.jsonl"
    outputs.write_text(damaged := outputs.read_text().replace("e", "f", 1))
    result = tunelab("run", "quickstart", "--smoke", "--store", str(store))
    assert result.returncode == 1
    assert "outputs.jsonl: got sha256" in result.stdout
    assert outputs.read_text() == damaged


def test_score_takes_ids_indices_and_own_targets(tunelab, tmp_path):
    rows = [
        {"output": "#### 4", "target": "4"},
        {"output": "It is 5", "target": ["5", "6"]},
        {"output": "no", "target": "1"},
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = json.loads(tunelab("score", "gsm8k", "p.jsonl", "--json").stdout)
    assert summary["n"] == 3
    assert summary["metrics"]["numeric"]["value"] == pytest.approx(2 / 3)
    assert summary["metrics"]["strict"]["value"] == pytest.approx(1 / 3)
    assert summary["outcomes"]["no_answer"] == 1
    (tmp_path / "i.jsonl").write_text('{"id": "test-0", "output": "x"}\n{"index": 1, "output": "y"}\n')
    assert json.loads(tunelab("score", "arithmetic", "i.jsonl", "--json").stdout)["n"] == 2


def test_data_show_brackets_what_is_learnt(tunelab):
    shown = tunelab("data", "show", "arithmetic", "--rows", "1").stdout
    prompt, _, learnt = shown.partition("⟦")
    assert "<|im_start|>user" in prompt
    assert "####" in learnt
    assert "<|im_end|>⟧" in learnt


def rows(path, *questions):
    path.parent.mkdir(exist_ok=True)
    lines = [json.dumps({"question": question, "answer": "1 + 1 = 2\n#### 2"}) + "\n" for question in questions]
    path.write_text("".join(lines))


def test_data_show_takes_own_files_from_the_command_line(tunelab, tmp_path):
    rows(tmp_path / "mine.jsonl", "How many mice?")
    rows(tmp_path / "own.jsonl", "How many owls?")
    show = ("data", "show", "gsm8k", "--file", "train=mine.jsonl", "--file", "test=own.jsonl", "--rows", "1")
    assert "How many mice?" in tunelab(*show).stdout
    assert "How many owls?" in tunelab(*show, "--split", "test").stdout
    assert "got 'mine', expected SPLIT=FILE" in tunelab("data", "show", "gsm8k", "--file", "mine").stderr
    assert "makes its own rows" in tunelab("data", "show", "arithmetic", "--file", "train=mine.jsonl").stderr


def test_data_show_reads_a_study_with_its_files_and_formats(tunelab, tmp_path):
    rows(tmp_path / "studies" / "train.jsonl", "How many mice?", "How many voles?")
    rows(tmp_path / "own.jsonl", "How many owls?")
    (tmp_path / "studies" / "mine.yaml").write_text(
        "study: mine\nquestion: Does it?\nmodel: tiny\ntask: gsm8k\n"
        "formats: {plain: {template: raw, user_prefix: 'Q: '}, chat: {template: chat, system: Count.}}\n"
        "evaluate: {raw: {format: plain}}\ndata: {files: {train: train.jsonl}}\n"
    )
    show = ("data", "show", "studies/mine.yaml", "--rows", "1")
    assert "Q: How many mice?\nAnswer:" in tunelab(*show).stdout
    assert "<|im_start|>system\nCount." in tunelab(*show, "--format", "chat").stdout
    assert "How many owls?" in tunelab(*show, "--file", "train=own.jsonl").stdout
    assert "mice" not in tunelab(*show, "--source", "builtin").stdout


def test_data_prepare_writes_tokens_and_names_where(tunelab, tmp_path):
    result = tunelab("data", "prepare", "quickstart", "--smoke", "train=sft_chat,grpo_chat")
    assert result.returncode == 0
    paths = [line for line in result.stdout.splitlines() if line.endswith(".parquet")]
    assert len(paths) == 2
    assert all((tmp_path / path).is_file() for path in paths)
    [row] = [line.split() for line in result.stdout.splitlines() if line.startswith(" sft_chat ")]
    assert row[:4] == ["sft_chat", "sft", "96", "0"]
    assert not (tmp_path / ".tunelab" / "train").exists()
    assert "done" not in tunelab("data", "prepare", "quickstart", "--smoke", "train=sft_chat").stdout


def test_data_prepare_of_rows_that_cannot_be_read_fails(tunelab, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"question": "1 + 1?"}\n')
    arguments = ("task=gsm8k", "data.files.train=rows.jsonl", "data.files.test=rows.jsonl", "--smoke")
    result = tunelab("data", "prepare", "quickstart", *arguments)
    assert result.returncode == 1
    assert "task gsm8k, split train, row 1: no column 'answer'" in result.stdout


def test_the_schema_accepts_the_bundled_studies_fields(tunelab):
    schema = json.loads(tunelab("schema").stdout)
    assert {"study", "formats", "train", "evaluate", "sweep"} <= set(schema["properties"])
    assert "required" not in schema["$defs"]["Train"]


def test_doctor_finds_a_damaged_file(tunelab, finished, tmp_path):
    assert tunelab("doctor", "--store", str(finished / ".tunelab")).returncode == 0
    shutil.copytree(finished / ".tunelab", tmp_path / "store")
    next((tmp_path / "store").glob("score/*/scores.jsonl")).write_text("")
    result = tunelab("doctor", "--store", str(tmp_path / "store"))
    assert result.returncode == 1
    assert "scores.jsonl: got 0 bytes" in result.stdout


def test_only_evaluate_leaves_untrained_variants_out(tunelab, finished):
    arguments = ("--smoke", "--only", "evaluate", "--store", str(finished / ".tunelab"))
    result = tunelab("run", "quickstart", "train.sft_chat.lr=0.5", *arguments)
    assert result.returncode == 0
    assert "sft_raw_all" in result.stdout
    assert "sft_chat " not in result.stdout
    assert result.stderr.splitlines()[0] == "tunelab: not trained yet, so not evaluated: sft_chat"


def test_report_alone_shows_what_is_not_there_as_holes(tunelab, finished, tmp_path):
    arguments = ("--smoke", "--store", str(finished / ".tunelab"))
    result = tunelab("report", "quickstart", "train.sft_chat.lr=0.25", *arguments)
    assert result.returncode == 0
    page = (tmp_path / "results" / "quickstart-smoke" / "report" / "index.html").read_text()
    assert "sft_chat/chat" in page


def test_report_of_a_study_that_never_ran_says_so_and_writes_nothing(tunelab, tmp_path):
    result = tunelab("report", "quickstart")
    assert result.returncode == 2
    expected = "tunelab: quickstart: has no results in .tunelab yet, expected a finished step; run it first"
    assert result.stderr.splitlines() == [expected]
    assert list(tmp_path.iterdir()) == []


def test_a_gate_that_is_not_met_ends_with_three(tunelab, finished):
    arguments = ("--smoke", "--gate", "--store", str(finished / ".tunelab"))
    assert tunelab("run", "quickstart", "evaluate.raw.at_least={numeric: 0.0}", *arguments).returncode == 0
    result = tunelab("run", "quickstart", "evaluate.raw.at_least={numeric: 1.01}", *arguments)
    assert result.returncode == 3
    assert "fail" in result.stdout


@pytest.mark.parametrize(
    ("overrides", "code", "failed"),
    [
        (("evaluate.raw.at_least={numeric: 0.0}",), 0, 0),
        (("evaluate.raw.at_least={numeric: 1.01}",), 3, 0),
        (("train.sft_chat.max_length=5", "train.sft_chat.max_too_long=0.5"), 1, 1),
    ],
)
def test_the_last_line_of_json_is_the_end(tunelab, finished, tmp_path, overrides, code, failed):
    arguments = ("--smoke", "--gate", "--json", "--store", str(finished / ".tunelab"))
    result = tunelab("run", "quickstart", *overrides, *arguments)
    *others, end = (json.loads(line) for line in result.stdout.splitlines())
    assert result.returncode == end["exit_code"] == code
    assert set(end) == {"event", "counts", "owed", "forced", "report", "exit_code"}
    assert (end["event"], end["counts"]["failed"]) == ("end", failed)
    states = [event["state"] for event in others if event["event"] == "ended"]
    assert {state: n for state, n in end["counts"].items() if n} == {s: states.count(s) for s in set(states)}
    assert (tmp_path / end["report"]).is_file()


def test_ctrl_c_says_how_to_go_on(tmp_path: Path):
    import os
    import signal

    command = [sys.executable, "-c", "from tunelab.cli import main; main()", "run", "quickstart"]
    variables = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=tmp_path, env=variables, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob(".tunelab/generate/*/lease.json")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert "run the same command again" in process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert not any(map(is_held, tmp_path.glob(".tunelab/*/*/lease.json")))


def test_training_metrics_go_to_tensorboard_too(tunelab, tmp_path):
    overrides = ("train=sft_chat", "evaluate=chat", "hardware.track=[tensorboard]")
    assert tunelab("run", "quickstart", "--smoke", *overrides).returncode == 0
    [events] = tmp_path.glob(".tunelab/train/*/tensorboard/events*")
    assert events.stat().st_size > 0
    folder = tmp_path / "results" / "quickstart-smoke" / "tensorboard"
    assert [path.name for path in folder.glob("training/sft_chat/*")] == [events.name]
    [table] = folder.glob("quickstart-smoke/events*")
    assert b"sft_chat/chat/difference" in table.read_bytes()
    assert tunelab("doctor").returncode == 0


def test_show_says_how_far_a_study_without_results_is(tunelab, finished, tmp_path):
    """As after a kill: the store has steps and a note of the run, and nothing is linked yet."""
    shutil.copytree(finished / ".tunelab", tmp_path / ".tunelab")
    assert tunelab("run", "quickstart", "--smoke", "--quiet").returncode == 0  # its note replaces those of other tests
    shutil.rmtree(tmp_path / "results")
    [note] = (tmp_path / ".tunelab" / "runs").glob("*/run.json")
    left = {**read_json(note), "ended": None, "end": None, "states": {}}
    left["owner"]["pid"] = 2**22 + 1
    write_json(note, left)
    for kind in ("compare", "report"):
        shutil.rmtree(tmp_path / ".tunelab" / kind)
    planned = len(left["steps"])
    how_far = f"{planned - 2} of {planned} steps are finished in .tunelab; the same tunelab run goes on with it"
    named, listed = tunelab("show", "quickstart-smoke"), tunelab("show")
    assert (named.returncode, len(named.stderr.splitlines()), how_far in named.stderr) == (2, 1, True)
    assert f"quickstart-smoke: no results yet, {how_far}" in " ".join(listed.stdout.split())
    assert "tunelab report STUDY.yaml" in named.stderr
    assert tunelab("show", "nothing").stderr.rstrip().endswith("run it first")


def test_a_step_that_fails_says_why_once(tunelab, finished, tmp_path):
    shutil.copytree(finished / ".tunelab", tmp_path / ".tunelab")
    overrides = ("train.sft_chat.max_length=5", "train.sft_chat.max_too_long=0.5")
    result = tunelab("run", "quickstart", *overrides, "--smoke")
    assert result.returncode == 1
    printed = " ".join(result.stdout.split())
    [(name, why)] = re.findall(r"✗ (train/sft_chat\S*) (.{40})", printed)
    assert printed.count(why) == printed.split("Failed: ")[0].count(why) == 1
    assert f"Failed: {name} (the reason stands above)" in printed
