"""How long a plan would take: by what the store has done, and nothing where it has done nothing like it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from study_files import STUDY, compiled, put

from tunelab.engine.plan import plan
from tunelab.engine.runner import Runner
from tunelab.engine.store import Store
from tunelab.study.api import SilentReporter
from tunelab.study.durations import clock, durations, lines


def nothing(context):
    """Stand in for a step whose work does not matter here."""
    (context.directory / "done").touch()


def finish(store, step, seconds, **facts):
    """Leave a step finished, with a record of so many seconds and these facts, and its inputs before it."""
    for needed in step.needs:
        if store.find(needed) is None:
            finish(store, needed, 0.5, receipt={"rows": 96})
    assert Runner(store, SilentReporter()).run([replace(step, entry=f"{__name__}:nothing")]).ok
    path = store.directory(step) / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": seconds, "facts": facts}))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def train(folder, *overrides, raw=STUDY):
    return compiled(folder, raw, *overrides).train["sft_chat"]


def told(step, store):
    planned = plan([step], store)
    return durations(planned, store).get(step.fingerprint), lines(planned, durations(planned, store))


def test_a_training_takes_as_long_as_its_rows_and_epochs_say(tmp_path, store):
    finish(store, train(tmp_path), 10.0, receipt={"rows": 96})
    more, _ = told(train(tmp_path, "recipe.epochs=3", "recipe.lr=0.01"), store)
    assert more.seconds == pytest.approx(30)
    assert more.like.startswith("train/sft_chat-")
    assert more.same_model
    steps, _ = told(train(tmp_path, "recipe.max_steps=6", "recipe.lr=0.01"), store)
    assert steps.seconds == pytest.approx(10 * 6 * 8 / 96)
    rows, _ = told(train(tmp_path, "recipe.rows=960"), store)
    assert rows.seconds == pytest.approx(100)


def test_other_work_says_nothing_of_it(tmp_path, store):
    finish(store, train(tmp_path), 10.0, receipt={"rows": 96})
    found, said = told(train(tmp_path, "recipe.adaptation=lora"), store)
    assert found is None
    assert said == [
        "time is not known of 1 that loads a model: nothing like it is in the store; tunelab plan --calibrate measures"
    ]


def test_a_model_of_another_size_is_scaled_by_parameters_and_called_rough(tmp_path, store):
    finish(store, train(tmp_path), 10.0, receipt={"rows": 96})
    config = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    config |= {"num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 1000}
    larger = tmp_path / "larger"
    larger.mkdir()
    (larger / "config.json").write_text(json.dumps(config))
    found, said = told(train(tmp_path, raw=put(STUDY, "model", str(larger))), store)
    parameters = 2 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64) + 2 * 1000 * 64 + 64
    tiny = 480_352
    assert found.seconds == pytest.approx(10 * parameters / tiny)
    assert not found.same_model
    assert "1 of them by a model of another size, which is rough" in said[0]


def test_of_several_that_are_as_like_the_middle_one_counts(tmp_path, store):
    for lr, seconds in ((0.1, 9.0), (0.2, 10.0), (0.3, 50.0)):
        finish(store, train(tmp_path, f"recipe.lr={lr}"), seconds, receipt={"rows": 96})
    assert told(train(tmp_path), store)[0].seconds == pytest.approx(10)


def test_generation_goes_by_outputs(tmp_path, store):
    cells = compiled(tmp_path).scores
    finish(store, cells["base/chat"].inputs["outputs"], 4.0, outputs=40)
    more = compiled(tmp_path, STUDY, "evaluation.rows=400").scores["base/chat"].inputs["outputs"]
    assert told(more, store)[0].seconds == pytest.approx(40)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0.2, "1 s"), (59, "59 s"), (60, "1 min"), (5399, "90 min"), (7200, "2.0 h"), (200_000, "2.3 days")],
)
def test_a_time_is_written_as_people_say_it(seconds, written):
    assert clock(seconds) == written


def test_nothing_to_run_has_no_time_to_tell(tmp_path, store):
    step = train(tmp_path)
    finish(store, step, 10.0, receipt={"rows": 96})
    assert lines(plan([step], store), {}) == []
    assert Path(store.root, "train").is_dir()
