"""A configuration is a study of one variant that compiles to the steps that the variant came from."""

import json
from pathlib import Path

import pytest
from study_files import ECHO_TASK, STUDY, changed, opened, put

from tunelab.engine.plan import topological
from tunelab.errors import StudyError
from tunelab.files import write_json
from tunelab.models.spec import TINY
from tunelab.study.compile import compile_study
from tunelab.study.configurations import configuration, portable
from tunelab.study.open import open_study
from tunelab.study.read import bundled, read_study
from tunelab.study.smoke import smoke


def identities(compiled, variant):
    """Fingerprints of a variant's training and of its outputs and scores, by evaluation."""
    cells = [cell for cell in compiled.cells if cell.variant.name == variant]
    scores = {cell.evaluation.name: compiled.scores[cell.name] for cell in cells}
    return {
        "train": compiled.train[variant].fingerprint,
        "generate": {name: step.inputs["outputs"].fingerprint for name, step in scores.items()},
        "score": {name: step.fingerprint for name, step in scores.items()},
    }


def work(compiled):
    """Fingerprints of all that costs time."""
    return {s.fingerprint for s in topological([compiled.report]) if s.kind not in ("compare", "report")}


def assert_each_variant_runs_again(compiled, folder, elsewhere):
    """Write each configuration into a folder of its own, read it back and compare what it asks for."""
    assert compiled.train
    for number, variant in enumerate(compiled.train):
        path = elsewhere / f"{number}" / "variant.json"
        path.parent.mkdir(parents=True)
        write_json(path, configuration(compiled, variant))
        again = compile_study(read_study(str(path)), path.parent)
        assert list(again.train) == [variant]
        assert identities(again, variant) == identities(compiled, variant)
        assert work(again) <= work(compiled)
        assert again.study.study != compiled.study.study


@pytest.mark.parametrize("name", bundled())
def test_every_variant_of_every_bundled_study_runs_again_from_its_configuration(name, tmp_path):
    points = [(label, smoke(study)) for label, study in read_study(name)]
    assert_each_variant_runs_again(compile_study(points), Path.cwd(), tmp_path)


MIXED = {
    "task": ["arithmetic", "gsm8k"],
    "mixture": {"rule": "ratio", "weights": {"all": 1}},
    "format": "chat",
    "loss": "all",
    "rows": 5,
}
STUDIES = {
    "plain": STUDY,
    "seeds": changed(seeds=[0, 3]),
    "a mixture": changed(
        train={"both": MIXED, "sft_raw": STUDY["train"]["sft_raw"]}, tasks={"all": ["arithmetic", "gsm8k"]}
    ),
    "weighed averages": changed(tasks={"all": ["arithmetic", "gsm8k"]}, task_weights={"gsm8k": 3, "arithmetic": 1}),
    "a searched learning rate": changed(
        train={
            "searched": STUDY["train"]["sft_chat"] | {"lr": {"search": [0.1, 0.01], "on": "validation", "rows": 20}},
            "fixed": STUDY["train"]["sft_chat"],
        }
    ),
    "searched checkpoints": changed(
        train={
            "searched": STUDY["train"]["sft_chat"] | {"checkpoints": {"search": 3, "on": "validation", "rows": 20}},
            "fixed": STUDY["train"]["sft_chat"],
        }
    ),
    "worked examples of a pool": put(STUDY, "formats.raw.few_shots", {"k": 3, "of": 8, "seed": 1}),
    "small numbers": changed(recipe=STUDY["recipe"] | {"lr": 1e-5, "weight_decay": 1e-7}),
    "a named baseline": changed(baseline="sft_chat", seeds=[1, 2]),
    "skipped cells": changed(mismatch="skip"),
    "dropped leaks": changed(data={"leaks": "drop"}),
    "a sweep of a recipe": changed(sweep={"recipe.lr": [1e-5, 1e-4]}, seeds=[0, 1]),
    "a sweep of a format": changed(sweep={"formats.chat.system": ["Be brief.", "Think."]}),
    "a sweep of an evaluation": changed(sweep={"evaluate.chat.temperature": [0.5, 1.0], "evaluation.rows": [10, 20]}),
    "a sweep of worked examples": changed(sweep={"formats.raw.few_shots.k": [0, 2]}),
    "worked examples that only another variant sees": put(STUDY, "formats.raw.few_shots", {"k": 3, "seed": 1}),
    "kwargs of a template": put(STUDY, "formats.chat.kwargs", {"enable_thinking": False, "scale": 1e-07}),
    "grpo and dpo": changed(
        train={
            "grpo": {"format": "chat", "method": "grpo"},
            "dpo": {"format": "raw", "method": "dpo", "dpo": {"samples": 2}},
        }
    ),
    "lora with dropout": changed(
        recipe=STUDY["recipe"] | {"adaptation": "lora", "lora": {"dropout": 0.1, "targets": ["q_proj"]}},
        hardware={"micro_batch_size": 3},
    ),
    "shares of rows": changed(recipe=STUDY["recipe"] | {"rows": 0.5}, evaluation={"rows": 1.0}),
}


@pytest.mark.parametrize("case", STUDIES)
def test_a_configuration_asks_for_the_same_steps_as_the_study(case, tmp_path):
    compiled = compile_study(opened(tmp_path, STUDIES[case]), tmp_path)
    assert_each_variant_runs_again(compiled, tmp_path, tmp_path / "elsewhere")


def users_study(folder, monkeypatch, model):
    """A study whose task, rows and model are files given by relative paths; the model's starts where one works."""
    (folder / "my").mkdir()
    (folder / "my" / "echo.py").write_text(ECHO_TASK)
    rows = [{"question": f"{i} + 1?", "answer": f"#### {i + 1}"} for i in range(150)]
    (folder / "my" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:100]))
    (folder / "my" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[100:]))
    (folder / "model").symlink_to(model)
    monkeypatch.chdir(folder)
    files = {"train": "my/train.jsonl", "test": "my/test.jsonl"}
    echo = STUDY["train"]["sft_raw"] | {"task": "my/echo.py:Echo"}
    train = STUDY["train"] | {"sft_echo": echo}
    evaluate = STUDY["evaluate"] | {"echo": {"format": "raw", "task": "my/echo.py:Echo"}, "shots": {"format": "shots"}}
    (folder / "my" / "shots.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:3]))
    shots = {"template": "raw", "few_shots": {"k": 2, "file": "my/shots.jsonl"}}
    raw = changed(task="gsm8k", model="./model", data={"files": files}, train=train, evaluate=evaluate)
    return put(raw, "formats.shots", shots)


@pytest.fixture
def local_model():
    """A model's folder: the bundled one's."""
    import tunelab.models

    return Path(tunelab.models.__file__).parent / TINY


def test_relative_paths_of_a_user_work_from_the_configuration_alone(tmp_path, monkeypatch, local_model):
    compiled = compile_study(opened(tmp_path, users_study(tmp_path, monkeypatch, local_model)), tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert_each_variant_runs_again(compiled, tmp_path, elsewhere)


def test_a_portable_configuration_names_no_folder_and_works_beside_its_files(tmp_path, monkeypatch, local_model):
    compiled = compile_study(opened(tmp_path, users_study(tmp_path, monkeypatch, local_model)), tmp_path)
    beside = tmp_path / "my"
    settings = portable(configuration(compiled, "sft_echo"))
    assert str(tmp_path) not in json.dumps(settings)
    (beside / local_model.name).symlink_to(local_model)
    write_json(beside / "variant.json", settings)
    monkeypatch.chdir(beside)
    again = compile_study(read_study("variant.json"), beside)
    assert identities(again, "sft_echo") == identities(compiled, "sft_echo")


def test_weights_are_of_the_tasks_by_their_new_names(tmp_path, monkeypatch, local_model):
    study = users_study(tmp_path, monkeypatch, local_model)
    mixed = {**MIXED, "task": ["my/echo.py:Echo", "gsm8k"], "mixture": {"rule": "ratio", "weights": {"all": 1}}}
    mixed["mixture"]["weights"] = {"my/echo.py:Echo": 2, "gsm8k": 1}
    tree = {"all": ["my/echo.py:Echo", "gsm8k"]}
    study = study | {"tasks": tree, "task_weights": {"my/echo.py:Echo": 3, "gsm8k": 1}}
    study["train"] = study["train"] | {"mixed": mixed}
    whole = configuration(compile_study(opened(tmp_path, study), tmp_path), "mixed")
    beside = portable(whole)
    assert beside["task_weights"] == {"echo.py:Echo": 3, "gsm8k": 1}
    assert beside["train"]["mixed"]["mixture"]["weights"] == {"echo.py:Echo": 2, "gsm8k": 1}
    assert whole["task_weights"] == {f"{tmp_path}/my/echo.py:Echo": 3, "gsm8k": 1}
    write_json(tmp_path / "whole.json", whole)
    assert compile_study(read_study(str(tmp_path / "whole.json")), tmp_path).study.leaf_weights()


def test_files_of_one_name_stay_apart_in_a_portable_configuration(tmp_path):
    rows = [{"question": f"{i} + 1?", "answer": f"#### {i + 1}"} for i in range(100)]
    for split, own in (("train", rows[:60]), ("test", rows[60:])):
        (tmp_path / split).mkdir()
        (tmp_path / split / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in own))
    files = {"train": "train/rows.jsonl", "test": "test/rows.jsonl"}
    small = STUDY["recipe"] | {"rows": 20}
    study = changed(task="gsm8k", data={"files": files}, recipe=small, evaluation={"rows": 10})
    compiled = compile_study(opened(tmp_path, study), tmp_path)
    settings = portable(configuration(compiled, "sft_raw"))
    assert settings["data"]["files"] == {"train": "rows.jsonl", "test": "rows-2.jsonl"}
    for split, name in settings["data"]["files"].items():
        (tmp_path / name).write_bytes((tmp_path / split / "rows.jsonl").read_bytes())
    write_json(tmp_path / "variant.json", settings)
    again = compile_study(read_study(str(tmp_path / "variant.json")), tmp_path)
    assert identities(again, "sft_raw") == identities(compiled, "sft_raw")


def test_a_model_of_the_hub_is_pinned_to_the_commit_that_was_trained(tmp_path, monkeypatch):
    cache, commit = tmp_path / "cache" / "models--some--model", "ab" * 20
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(commit)
    (cache / "snapshots" / commit).mkdir(parents=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    compiled = compile_study(opened(tmp_path, changed(model="some/model")), tmp_path)
    assert configuration(compiled, "sft_chat")["model"] == f"some/model@{commit}"
    assert_each_variant_runs_again(compiled, tmp_path, tmp_path / "elsewhere")


def test_what_was_left_to_defaults_is_written_out(tmp_path):
    settings = configuration(compile_study(opened(tmp_path, STUDY), tmp_path), "sft_chat")
    assert settings["train"]["sft_chat"]["schedule"] == "linear"
    assert settings["train"]["sft_chat"]["precision"] in ("fp32", "bf16")
    asked = settings["evaluate"]["raw"]
    assert (asked["split"], asked["temperature"], asked["rows"]) == ("test", 0.0, 40)
    assert isinstance(asked["max_new_tokens"], int)
    assert "recipe" not in settings


def test_an_unknown_variant_is_named(tmp_path):
    compiled = compile_study(opened(tmp_path, STUDY), tmp_path)
    with pytest.raises(StudyError, match="got 'base', expected one of sft_chat, sft_raw"):
        configuration(compiled, "base")


def test_json_is_read_as_json_and_refuses_a_key_that_is_written_twice(tmp_path):
    path = tmp_path / "twice.json"
    path.write_text('{"study": "a", "study": "b"}')
    with pytest.raises(StudyError, match="the key 'study' is written twice"):
        read_study(str(path))
    path.write_text("{")
    with pytest.raises(StudyError, match="not valid JSON"):
        open_study(str(path), [], tmp_path / "store")
