"""Worked examples that are scored rows: leaving rows out of training does not mend them, so they are refused."""

import json

import pytest
from study_files import only, put

from tunelab.errors import StepError
from tunelab.study.api import run

QUESTIONS = ("What is one plus one?", "What is two plus two?", "What is two plus five?", "What is six plus two?")
STUDY = {
    "study": "shots",
    "question": "Do worked examples leak?",
    "model": "tiny",
    "task": "gsm8k",
    "mismatch": "allow",
    "formats": {"shots": {"template": "raw", "few_shots": {"k": 2}}, "plain": {"template": "chat"}},
    "recipe": {"method": "sft", "adaptation": "full", "lr": 0.001, "epochs": 1, "batch_size": 2, "loss": "all"},
    "evaluation": {"max_new_tokens": 4},
    "evaluate": {"raw": {"format": "shots"}},
    "data": {"files": {"train": "train.jsonl", "test": "test.jsonl"}, "leaks": "drop"},
}


def write(path, questions):
    rows = [{"question": question, "answer": "#### 2"} for question in questions]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def ran(folder, monkeypatch, raw, test):
    """Run the study on four training rows, two of which are worked examples of one format."""
    monkeypatch.chdir(folder)
    write(folder / "train.jsonl", QUESTIONS)
    write(folder / "test.jsonl", test)
    return run(only(folder, raw), store=folder / "store", results=folder / "results")


def worked_examples(folder):
    [rows] = folder.glob("store/prepare/gsm8k-train-shots-*/rows.jsonl")
    return [json.loads(line)["fields"]["question"] for line in rows.read_text().splitlines()]


@pytest.mark.parametrize("leaks", ["drop", "refuse"])
def test_a_scored_row_among_the_worked_examples_is_refused_before_generating(tmp_path, monkeypatch, leaks):
    with pytest.raises(StepError, match=r"leak: 2 evaluation rows .* few_shots\.seed"):
        ran(tmp_path, monkeypatch, put(STUDY, "data.leaks", leaks), QUESTIONS)
    assert not list(tmp_path.glob("store/generate/*/record.json"))


def test_a_scored_row_among_the_worked_examples_is_used_where_leaks_are_only_reported(tmp_path, monkeypatch):
    compared = ran(tmp_path, monkeypatch, put(STUDY, "data.leaks", "report"), QUESTIONS)
    assert compared["holes"] == []
    [leaks] = tmp_path.glob("store/check/*/leaks.json")
    assert json.loads(leaks.read_text())["exact"] == 2


def test_a_row_that_is_no_worked_example_may_be_scored(tmp_path, monkeypatch):
    compared = ran(tmp_path, monkeypatch, STUDY, ["What is nine plus nine?"])
    assert compared["holes"] == []


def test_scored_rows_among_the_worked_examples_of_a_training_stop_it_whatever_scores_it(tmp_path, monkeypatch):
    raw = put(put(STUDY, "train", {"sft": {"format": "shots"}}), "evaluate", {"chat": {"format": "plain"}})
    assert ran(tmp_path, monkeypatch, raw, ["What is nine plus nine?"])["holes"] == []
    [trained] = tmp_path.glob("store/train/*/record.json")
    assert ran(tmp_path, monkeypatch, raw, worked_examples(tmp_path))["holes"] == ["sft/chat"]
    assert list(tmp_path.glob("store/train/*/record.json")) == [trained]


def test_a_near_duplicate_is_counted_as_one_and_refuses_nothing(tmp_path, monkeypatch):
    words = [f"w{i}" for i in range(40)]
    asked = [*QUESTIONS[:3], " ".join(words)]
    monkeypatch.setattr(f"{__name__}.QUESTIONS", asked)
    near = " ".join([*words[:20], "other", *words[21:]])
    plain = {"train": {"sft": {"format": "plain"}}, "evaluate": {"chat": {"format": "plain"}}}
    raw = {**STUDY, **plain, "formats": {"plain": STUDY["formats"]["plain"]}}
    assert ran(tmp_path, monkeypatch, put(raw, "data.leaks", "refuse"), [near])["holes"] == []
    [counts] = [json.loads(path.read_text()) for path in tmp_path.glob("store/check/*/leaks.json")]
    assert (counts["near"], counts["exact"], counts["same_cluster"]) == (1, 0, 0)
