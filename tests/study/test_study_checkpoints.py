"""A variant may be chosen among its training's checkpoints, on rows that nothing else of the study uses."""

import csv
import json
from itertools import combinations

import pytest
from study_files import ECHO_TASK, STUDY, changed, compiled, kinds, put

from tunelab.engine.context import StepContext
from tunelab.engine.plan import topological
from tunelab.engine.record import Artifact, FileEntry, Record
from tunelab.errors import DataError, ModelError
from tunelab.files import read_lines, write_json, write_lines
from tunelab.study.api import run
from tunelab.study.read import read_study
from tunelab.study.smoke import smoke
from tunelab.study.steps.select import run as select
from tunelab.training.checkpoints import kept_checkpoint

ECHO = "./echo.py:Echo"
SEARCH = {"search": 3, "on": "validation", "rows": 6}


def searching(folder, **recipe):
    """A study of the user's task with one variant, which is chosen among three checkpoints of three steps."""
    (folder / "echo.py").write_text(ECHO_TASK)
    train = {"format": "chat", "loss": "completion", "rows": 24, "max_steps": 3, "checkpoints": SEARCH} | recipe
    return changed(task=ECHO, train={"sft": train}, evaluate={"chat": {"format": "chat", "rows": 4}})


def ran(folder, monkeypatch, raw):
    """Run a study in its folder; return its comparison."""
    monkeypatch.chdir(folder)
    (folder / "study.yaml").write_text(json.dumps(raw))
    [(_, study)] = read_study("study.yaml")
    return run(study)


def records(folder, kind):
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f".tunelab/{kind}/*/record.json"))]


def held_out_outputs(folder):
    """What each candidate answered on the held-out rows, by its place among the checkpoints."""
    found = {}
    for path in folder.glob(".tunelab/generate/*held-out*/record.json"):
        rows = read_lines(path.parent / "outputs.jsonl")
        found[tuple(json.loads(path.read_text())["settings"]["checkpoint"])] = [row["output"] for row in rows]
    return found


def test_one_training_gives_every_candidate(tmp_path):
    found = compiled(tmp_path, searching(tmp_path))
    count = kinds(found)
    assert (count["train"], count["select"], count["generate"], count["score"]) == (1, 1, 5, 5)
    select_step = found.train["sft"]
    assert [s.kind for s in (select_step, *select_step.inputs.values())].count("train") == 3
    assert found.scores["sft/chat"].inputs["outputs"].inputs["trained"].fingerprint == select_step.fingerprint


def test_a_training_is_the_same_whether_its_checkpoints_are_searched_or_kept(tmp_path):
    searched, kept = (compiled(tmp_path, searching(tmp_path, checkpoints=value)) for value in (SEARCH, 3))
    [training] = [s for s in topological([searched.report]) if s.kind == "train"]
    assert training.settings == kept.train["sft"].settings


@pytest.mark.parametrize("adaptation", ["full", "lora"])
def test_checkpoints_answer_with_weights_of_their_own_and_a_tie_goes_to_the_earliest(tmp_path, monkeypatch, adaptation):
    raw = searching(tmp_path, adaptation=adaptation, lr=0.05, schedule="constant")
    comparison = ran(tmp_path, monkeypatch, raw)
    assert comparison["holes"] == []
    answers = held_out_outputs(tmp_path)
    assert sorted(answers) == [(1, 3), (2, 3), (3, 3)]
    assert all(one != other for one, other in combinations(answers.values(), 2))
    [chosen], [training] = records(tmp_path, "select"), records(tmp_path, "train")
    weights = "model.safetensors" if adaptation == "full" else "adapter_model.safetensors"
    assert chosen["facts"]["search"]["chosen"] == 1
    assert chosen["files"][f"model/{weights}"] == training["files"][f"checkpoints/step-000001/{weights}"]
    assert chosen["files"][f"model/{weights}"] != training["files"][f"model/{weights}"]
    table = tmp_path / "results" / "templates" / "checkpoint_scores_sft.csv"
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert table.is_symlink()
    assert [(row["step"], row["chosen"], row["n"]) for row in rows] == [
        ("1", "yes", "6"),
        ("2", "no", "6"),
        ("3", "no", "6"),
    ]
    assert [float(row["epoch"]) for row in rows] == [pytest.approx(i / 3, abs=0.01) for i in (1, 2, 3)]


def test_fewer_steps_than_checkpoints_give_fewer_candidates(tmp_path, monkeypatch):
    assert ran(tmp_path, monkeypatch, searching(tmp_path, max_steps=2))["holes"] == []
    [chosen] = records(tmp_path, "select")
    assert [c["candidate"] for c in chosen["facts"]["search"]["candidates"]] == [1, 2]
    assert chosen["facts"]["search"]["asked"] == 3


def test_rows_that_choose_a_checkpoint_are_in_no_training_and_no_evaluation(tmp_path, monkeypatch):
    raw = put(searching(tmp_path, rows=None), "evaluate.chat.split", "train")
    ran(tmp_path, monkeypatch, put(raw, "data.leaks", "drop"))
    rows = [
        {row["id"] for row in read_lines(path)} for path in tmp_path.glob(".tunelab/prepare/echo-train-*/rows.jsonl")
    ]
    scored, held, trained = sorted(rows, key=len)
    assert (len(scored), len(held), len(trained)) == (4, 6, 190)
    assert len(scored | held | trained) == 200


def test_a_smoke_run_leaves_rows_to_train_on_where_few_could_be_held_out(tmp_path, monkeypatch):
    raw = put(put(STUDY, "task", "gsm8k"), "evaluate", {"raw": {"format": "raw"}})
    train = STUDY["train"]["sft_raw"] | {"checkpoints": {"search": 3, "on": "validation"}}
    raw = put(put(raw, "train", {"sft": train}), "formats.raw.few_shots", {"k": 5, "of": 8})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(json.dumps(raw))
    [(_, study)] = read_study("study.yaml")
    small = smoke(study)
    assert (small.formats["raw"].few_shots.k, small.formats["raw"].few_shots.of) == (2, 4)
    comparison = run(
        small.model_copy(update={"train": {"sft": small.train["sft"].model_copy(update={"max_steps": 1})}})
    )
    assert comparison["holes"] == []
    receipts = [r["facts"]["receipt"] for r in records(tmp_path, "prepare") if r["slug"] == "gsm8k-train"]
    assert sorted((r["available"], r["rows"]) for r in receipts) == [(12, 4), (12, 4)]


@pytest.mark.parametrize(("kept", "expected"), [((3, 6, 9), (3, 6, 9)), ((1, 2), (1, 2, 2)), ((1,), (1, 1, 1))])
def test_a_point_of_a_training_has_the_checkpoint_that_is_there(kept, expected):
    files = ["model/model.safetensors", *(f"checkpoints/step-{step:06d}/model.safetensors" for step in kept)]
    found = [kept_checkpoint(files, i, 3) for i in (1, 2, 3)]
    assert found == [f"checkpoints/step-{step:06d}" for step in expected]


def test_a_training_without_checkpoints_has_none_to_load():
    with pytest.raises(ModelError, match="checkpoint 1 of 3: the training kept none"):
        kept_checkpoint(["model/model.safetensors"], 1, 3)


def artifact(folder, facts=None):
    """A finished step whose files are those of a folder."""
    files = {str(p.relative_to(folder)): FileEntry("", p.stat().st_size) for p in folder.rglob("*") if p.is_file()}
    record = Record("f", "k", 1, "s", {}, {}, {}, facts or {}, {}, "", "", 0, 0, 1, files)
    return Artifact(record, folder)


def chosen_by(folder, scores):
    """Let the step choose among checkpoints with these scores: a mapping of task to (value, scale), each."""
    training = folder / "training"
    for step in (0, *range(1, len(scores) + 1)):
        place = training / (f"checkpoints/step-{step:06d}" if step else "model")
        place.mkdir(parents=True)
        (place / "model.safetensors").write_text(f"weights {step}")
    (training / "model" / "chat_template.jinja").write_text("template")
    write_lines(training / "metrics.jsonl", [{"step": 2, "epoch": 0.5, "loss": 1.0}])
    inputs = {}
    for i, tasks in enumerate(scores, 1):
        inputs[f"train/{i}"] = artifact(training, {"steps": len(scores)})
        for task, (value, scale) in tasks.items():
            place = folder / f"score-{i}-{task}"
            place.mkdir()
            metric = {"value": value, "low": value and value / 2, "high": value, "n": 8, "scale": scale}
            write_json(place / "summary.json", {"metrics": {"right": metric, "other": metric | {"value": 9.0}}})
            inputs[f"score/{i}/{task}"] = artifact(place)
    (folder / "out").mkdir()
    settings = {"search": "checkpoints", "candidates": [str(i) for i in range(1, len(scores) + 1)]}
    context = StepContext(settings, {}, inputs, {}, folder / "out", lambda *_: None)
    select(context)
    return context.facts["search"]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([{"a": (0.2, 1)}, {"a": (0.5, 1)}, {"a": (0.4, 1)}], 2),
        ([{"a": (0.2, 1)}, {"a": (0.5, 1)}, {"a": (0.5, 1)}], 2),
        ([{"a": (0.9, 1), "b": (10, 100)}, {"a": (0.2, 1), "b": (90, 100)}, {"a": (0.0, 1), "b": (99, 100)}], 2),
    ],
)
def test_the_best_mean_of_the_tasks_is_kept_and_a_tie_goes_to_the_earlier(tmp_path, scores, expected):
    search = chosen_by(tmp_path, scores)
    assert search["chosen"] == expected
    model = tmp_path / "out" / "model"
    assert (model / "model.safetensors").read_text() == f"weights {expected}"
    assert (model / "chat_template.jinja").read_text() == "template"
    rows = list(csv.DictReader((tmp_path / "out" / "checkpoint_scores.csv").read_text().splitlines()))
    assert [row["step"] for row in rows if row["chosen"] == "yes"] == [str(expected)] * len(scores[0])
    assert [float(row["epoch"]) for row in rows if row["task"] == "a"] == [0.25, 0.5, 0.75]
    assert [float(row["value"]) for row in rows if row["task"] == "b"] == [c["b"][0] / 100 for c in scores if "b" in c]


def test_a_candidate_without_a_score_cannot_be_chosen_against(tmp_path):
    with pytest.raises(DataError, match=r"a could not be scored at checkpoints 2 \(right is missing\)"):
        chosen_by(tmp_path, [{"a": (0.5, 1)}, {"a": (None, 1)}])
