"""A user's mistake gets one clear line, exit code 2, and no traceback."""

import json
from pathlib import Path

import pytest

STUDY = """
study: mine
question: Does it work?
model: tiny
task: gsm8k
formats: {chat: {template: chat}}
recipe: {method: sft, adaptation: full, lr: 1e-4, epochs: 1, batch_size: 2, loss: completion}
train: {sft: {format: chat}}
evaluate: {chat: {format: chat}}
"""

MISTAKES = {
    "unknown study": (["run", "quickstrat"], "did you mean 'quickstart'?"),
    "unknown task": (["run", "quickstart", "task=arithmetics"], "did you mean 'arithmetic'?"),
    "misspelt key": (["plan", "quickstart", "recipe.learning_rat=1"], "unknown key 'recipe.learning_rat'"),
    "misspelt section": (["plan", "quickstart", "evalute.raw.rows=1"], "did you mean 'evaluate'?"),
    "wrong type": (["plan", "quickstart", "recipe.lr=fast"], "lr: got 'fast'"),
    "no such variant": (["run", "quickstart", "train=sft_chatt"], "did you mean 'sft_chat'?"),
    "no such model": (["run", "quickstart", "model=nobody/nothing"], "model 'nobody/nothing'"),
    "no such folder": (["run", "quickstart", "model=./nothing"], "./nothing"),
    "no such step": (["explain", "train/nothing", "--study", "quickstart"], "expected kind/slug"),
    "no such verb": (["rum"], "rum"),
    "unknown task to score": (["score", "gsm9k", "x.jsonl"], "did you mean 'gsm8k'?"),
    "no such file to score": (["score", "gsm8k", "x.jsonl"], "x.jsonl"),
    "too many rows": (["run", "quickstart", "evaluation.rows=5000", "train=sft_chat"], "5000"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_without_a_traceback(tunelab, mistake):
    arguments, expected = MISTAKES[mistake]
    result = tunelab(*arguments)
    assert result.returncode in (1, 2)
    assert expected in result.stderr + result.stdout
    assert "Traceback" not in result.stderr


def study_with_files(folder: Path, train: str, test: str) -> str:
    (folder / "train.jsonl").write_text(train)
    (folder / "test.jsonl").write_text(test)
    (folder / "mine.yaml").write_text(STUDY + "data: {files: {train: train.jsonl, test: test.jsonl}}\n")
    return "mine.yaml"


def row(question: str, answer: str = "1 + 1 = 2\n#### 2") -> str:
    return json.dumps({"question": question, "answer": answer}) + "\n"


def test_a_missing_column_is_named_with_file_and_row(tunelab, tmp_path):
    study = study_with_files(tmp_path, row("What is 1 + 1?"), '{"question": "2 + 2?", "solution": "4"}\n')
    result = tunelab("run", study)
    assert result.returncode == 1
    assert "no column 'answer'" in result.stdout
    assert "rename the column" in result.stdout


def test_an_empty_data_set_is_named(tunelab, tmp_path):
    result = tunelab("run", study_with_files(tmp_path, row("What is 1 + 1?"), ""))
    assert result.returncode == 1
    assert "holds no rows" in result.stdout
    assert "Traceback" not in result.stderr


def test_a_test_row_in_training_stops_before_training_and_is_listed(tunelab, tmp_path):
    rows = row("What is one plus one?") + row("What is two plus two?", "#### 4")
    result = tunelab("run", study_with_files(tmp_path, rows, row("what is ONE plus one")))
    assert result.returncode == 1
    assert "test-0 = train-0" in result.stdout
    assert not list(tmp_path.glob(".tunelab/train/*/record.json"))


def test_a_data_set_that_is_nowhere_is_refused_with_the_ways_to_provide_it(tunelab):
    result = tunelab("run", "chat-template", "model=tiny", TUNELAB_DATA="")
    assert result.returncode != 0
    for way in ("network", "TUNELAB_DATA", "data.files"):
        assert way in result.stderr + result.stdout


def test_a_store_made_by_a_newer_version_is_left_alone(tunelab, tmp_path):
    (tmp_path / ".tunelab").mkdir()
    (tmp_path / ".tunelab" / "store.json").write_text('{"format": 99}')
    result = tunelab("run", "quickstart")
    assert result.returncode == 1
    assert "newer tunelab" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_corrupt_record_is_named_and_nothing_is_lost(tunelab, tmp_path):
    overrides = ("train=sft_chat", "evaluate=chat", "train.sft_chat.max_steps=2", "evaluate.chat.rows=4")
    assert tunelab("run", "quickstart", *overrides).returncode == 0
    record = next(tmp_path.glob(".tunelab/train/*/record.json"))
    record.write_text(record.read_text()[:-40])
    result = tunelab("run", "quickstart", *overrides)
    assert result.returncode == 1
    assert "is corrupt: move" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert (record.parent / "model" / "model.safetensors").exists()


def test_a_worked_example_that_is_also_scored_stops_the_study(tunelab, tmp_path):
    rows = "".join(row(f"What is {word} plus one?") for word in ("one", "two", "three", "four"))
    study = study_with_files(tmp_path, rows, rows)
    result = tunelab("run", study, "train={}", "formats.chat.few_shots.k=2")
    assert result.returncode == 1
    assert "2 evaluation rows are among the training rows" in result.stdout
    assert not list(tmp_path.glob(".tunelab/generate/*/record.json"))
