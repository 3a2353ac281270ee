"""Tokenised sets hold what training sees, are made once, and are not made of rows that leak."""

import json

import pyarrow.parquet as pq
import pytest
from study_files import ECHO_TASK, STUDY, changed, opened, put

from tunelab.engine.runner import Runner, State
from tunelab.errors import StudyError
from tunelab.models.load import load_tokenizer
from tunelab.models.spec import resolve
from tunelab.study.api import SilentReporter
from tunelab.study.layout import link_data
from tunelab.study.open import only_data, open_points
from tunelab.study.steps import train as train_step
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import load_samples

SIZES = {"max_steps": 1, "rows": 24}


def prepared(folder, raw, *overrides):
    """Prepare a study's data: its outcome, and its tables and receipts by variant."""
    found = only_data(open_points(opened(folder, raw, *overrides), folder, folder / "store"))
    outcome = Runner(found.store, SilentReporter()).run(found.targets())
    folders = link_data(found, outcome, folder / "results")
    tables = {name: pq.read_table(path / "train.parquet").to_pylist() for name, path in folders.items()}
    receipts = {name: json.loads((path / "receipt.json").read_text()) for name, path in folders.items()}
    return outcome, tables, receipts


def small(**fields):
    return changed(recipe=STUDY["recipe"] | SIZES, **fields)


def test_a_set_holds_the_rows_that_training_is_given(tmp_path, monkeypatch):
    study = put(small(), "formats.raw.few_shots", {"k": 2})
    _, tables, receipts = prepared(tmp_path, study)
    seen = {}
    train = train_step.train_sft

    def recorded(job, rows, model, tokenizer):
        seen[job.recipe.loss] = rows
        return train(job, rows, model, tokenizer)

    monkeypatch.setattr(train_step, "train_sft", recorded)
    whole = open_points(opened(tmp_path, study), tmp_path, tmp_path / "store")
    outcome = Runner(whole.store, SilentReporter()).run(list(whole.compiled.train.values()))
    assert outcome.ok
    for variant, loss in (("sft_chat", "all"), ("sft_raw", "completion")):
        rows = [{key: row[key] for key in ("input_ids", "labels")} for row in tables[variant]]
        assert rows == seen[loss].rows
        record = whole.store.open(whole.compiled.train[variant]).record
        assert receipts[variant]["tokenised"] == record.facts["receipt"]


def test_a_set_is_what_the_models_own_template_makes_of_each_sample(tmp_path):
    study = small(train={"sft": STUDY["train"]["sft_chat"], "grpo": {"format": "chat", "method": "grpo"}})
    _, tables, _ = prepared(tmp_path, study)
    task, tokenizer = find_task("arithmetic"), load_tokenizer(resolve("tiny"))
    samples = {sample.id: sample for sample in load_samples(task, "train", None)}
    for row in tables["sft"]:
        sample = samples[row["id"]]
        turns = [{"role": m.role, "content": m.content} for m in task.messages(sample)]
        answered = [*turns, {"role": "assistant", "content": task.target(sample)}]
        whole = tokenizer.apply_chat_template(answered, tokenize=False)
        assert tokenizer.decode(row["input_ids"]) == whole.rstrip("\n")
        assert row["labels"] == row["input_ids"]
    for row in tables["grpo"]:
        assert set(row) == {"id", "prompt_ids"}
        turns = [{"role": m.role, "content": m.content} for m in task.messages(samples[row["id"]])]
        prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        assert tokenizer.decode(row["prompt_ids"]) == prompt
    assert len(tables["sft"]) == len(tables["grpo"]) == 24


def test_a_row_that_is_too_long_is_left_out_with_its_id_and_counted(tmp_path):
    _, tables, _ = prepared(tmp_path, small())
    rows = tables["sft_chat"]
    limit = sorted(len(row["input_ids"]) for row in rows)[len(rows) // 2]
    limits = ("recipe.max_too_long=1.0", f"recipe.max_length={limit}")
    _, shorter, receipts = prepared(tmp_path, small(), *limits)
    assert shorter["sft_chat"] == [row for row in rows if len(row["input_ids"]) <= limit]
    assert receipts["sft_chat"]["tokenised"]["too_long"] == len(rows) - len(shorter["sft_chat"]) > 0


def test_variants_that_render_alike_share_a_set_and_a_second_time_makes_none(tmp_path):
    entry = STUDY["train"]["sft_chat"]
    study = small(train={"slow": entry | {"lr": 1e-5}, "fast": entry}, seeds=[0, 1])
    outcome, tables, _ = prepared(tmp_path, study)
    assert len(tables) == 4
    assert len(list((tmp_path / "store" / "tokenise").iterdir())) == 1
    assert set(outcome.states.values()) == {State.DONE}
    again, _, _ = prepared(tmp_path, study)
    assert set(again.states.values()) == {State.CACHED}


def test_rows_that_leak_are_not_written(tmp_path):
    leaking = ECHO_TASK.replace('f"{split} {i}"', 'f"the same {i}"')
    (tmp_path / "echo.py").write_text(leaking)
    outcome, tables, _ = prepared(tmp_path, small(task="echo.py:Echo"))
    assert tables == {}
    assert any("evaluation rows are among the training rows" in m for m in outcome.failures().values())


def test_a_study_that_trains_nothing_has_no_data_to_prepare(tmp_path):
    with pytest.raises(StudyError, match="trains no variant"):
        prepared(tmp_path, changed(train={}))
