"""What is measured on a few rows tells how long a step takes, is kept, and is bounded in time and memory."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from memory_studies import folder_of
from study_files import ECHO_TASK, STUDY, changed, compiled

from tunelab.engine.plan import plan
from tunelab.engine.runner import Runner
from tunelab.engine.store import Store
from tunelab.study.api import SilentReporter
from tunelab.study.calibrate import calibrate, one_of_each, unknown
from tunelab.study.calibration import Calibrations, Measured, sort_of, texts_of
from tunelab.study.durations import durations, lines, written
from tunelab.study.fitting import needs
from tunelab.study.open import Opened

DEVICE = {"hardware": {"device": "cpu"}}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def outputs(found, cell):
    return found.scores[cell].inputs["outputs"]


def told(step, store):
    planned = plan([step], store)
    return durations(planned, store).get(step.fingerprint), lines(planned, durations(planned, store))


def measured(step, **values):
    return Measured(sort_of(step), texts_of(step), **{"fixed": 1.0, "row": 0.5, **values})


def test_seconds_are_what_every_step_takes_and_what_rows_and_epochs_take(tmp_path, store):
    step = compiled(tmp_path, changed(**DEVICE)).train["sft_chat"]
    Calibrations(store).keep(measured(step))
    found, said = told(step, store)
    assert found.seconds == pytest.approx(1 + 96 * 0.5)
    assert found.source == "calibrated"
    assert found.most is None
    assert said == ["time is about 49 s, calibrated"]
    again = compiled(tmp_path, changed(**DEVICE), "recipe.epochs=3", "recipe.lr=0.01").train["sft_chat"]
    assert told(again, store)[0].seconds == pytest.approx(1 + 3 * 96 * 0.5)


@pytest.mark.parametrize(
    "override",
    ["recipe.adaptation=lora", "recipe.batch_size=4", "hardware.micro_batch_size=2", "recipe.precision=bf16"],
)  # fmt: skip
def test_what_is_measured_of_one_way_of_training_says_nothing_of_another(tmp_path, store, override):
    Calibrations(store).keep(measured(compiled(tmp_path, changed(**DEVICE)).train["sft_chat"]))
    assert told(compiled(tmp_path, changed(**DEVICE), override).train["sft_chat"], store)[0] is None


def test_other_versions_and_other_machines_have_other_times(tmp_path, store):
    step = compiled(tmp_path, changed(**DEVICE)).train["sft_chat"]
    for key, value in (("versions", {"torch": "0"}), ("machine", {"device": "cpu", "name": "abacus"})):
        Calibrations(store).keep(replace(measured(step), sort=sort_of(step) | {key: value}))
    assert told(step, store)[0] is None


def test_an_answer_takes_what_was_drawn_and_at_most_its_budget(tmp_path, store):
    found = compiled(tmp_path, changed(**DEVICE))
    step = outputs(found, "base/chat")
    Calibrations(store).keep(measured(step, row=0.1, token=0.01, drawn=10.0))
    duration, _ = told(step, store)
    assert duration.seconds == pytest.approx(1 + 40 * 0.1 + 40 * 10 * 0.01)
    assert duration.most == pytest.approx(1 + 40 * 0.1 + 40 * 48 * 0.01)
    assert written(duration) == "9 s to 24 s"
    other, _ = told(outputs(found, "base/raw"), store)
    assert other.seconds > duration.seconds * 2, "how long answers in another format are is not known"
    assert other.most is None


def test_a_variant_answers_as_long_as_it_was_taught(tmp_path, store):
    found = compiled(tmp_path, changed(**DEVICE))
    Calibrations(store).keep(measured(outputs(found, "base/chat"), row=0.0, token=1.0, drawn=1.0))
    base, taught = (told(outputs(found, f"{name}/chat"), store)[0].seconds for name in ("base", "sft_chat"))
    assert base == pytest.approx(1 + 40)
    assert 40 * 15 < taught < 40 * 30


def test_longer_rows_take_longer(tmp_path, store):
    step = compiled(tmp_path, changed(**DEVICE)).train["sft_chat"]
    Calibrations(store).keep(measured(step, length=10**6))
    assert told(step, store)[0].seconds == pytest.approx(1, abs=0.01)


def test_a_finished_step_counts_before_a_measurement(tmp_path, store):
    step = compiled(tmp_path, changed(**DEVICE)).train["sft_chat"]
    Calibrations(store).keep(measured(step))
    other = compiled(tmp_path, changed(**DEVICE), "recipe.lr=0.5").train["sft_chat"]
    assert Runner(store, SilentReporter()).run([replace(other, entry=f"{__name__}:train_nothing")]).ok
    assert told(step, store)[0].source == "records"


def train_nothing(context):
    context.facts["receipt"] = {"rows": 96}


def test_what_cannot_be_read_is_as_if_it_was_not_there(tmp_path, store):
    step = compiled(tmp_path, changed(**DEVICE)).train["sft_chat"]
    Calibrations(store).keep(measured(step))
    [path] = (store.root / "cache" / "calibration").iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"more": 1}))
    assert told(step, store)[0] is None


def test_one_step_of_each_sort_is_measured_and_each_text_that_is_answered(tmp_path, store):
    planned = plan([compiled(tmp_path, changed(**DEVICE)).report], store)
    names = [f"{step.kind}/{step.slug}" for step in one_of_each(unknown(planned, store))]
    assert names == ["generate/base-chat", "train/sft_chat", "train/sft_raw", "generate/base-raw"]


def calibrated(folder, store, *overrides, raw=STUDY, room=10**12, seconds=120.0):
    opened = Opened(compiled(folder, changed(**DEVICE) if raw is STUDY else raw, *overrides), store)
    planned = opened.plan()
    said = []
    why = calibrate(planned, needs(opened, planned, room), store, said.append, seconds)
    return planned, why, said


def test_a_short_measurement_gives_every_step_that_loads_a_model_a_time(tmp_path):
    """By the command, whose own process loads nothing; a study with an adapter and GRPO."""
    lora = {"format": "chat", "loss": "all", "adaptation": "lora"}
    grpo = {"format": "chat", "method": "grpo", "rows": 16, "batch_size": 2, "grpo": {"num_generations": 4}}
    raw = changed(**DEVICE, train={"lora": lora, "grpo": grpo}, evaluate={"chat": {"format": "chat"}})
    opened = Opened(compiled(tmp_path, raw), Store(tmp_path / "store"))
    code = "import sys; sys.argv = ['tunelab', 'plan', 'study.yaml', '--calibrate', '--json', '--store', 'store']\n"
    code += "from tunelab.cli import main\ntry:\n main()\nexcept SystemExit:\n pass\n"
    code += "print('heavy', {'torch', 'transformers', 'trl', 'peft', 'datasets'} & set(sys.modules), file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "measuring 4 of the plan's steps on a few rows, 60 s at most" in ran.stderr
    assert ran.stderr.count(": measured\n") == 4
    assert ran.stderr.strip().endswith("heavy set()")
    times = {step["name"]: step["time"] for step in json.loads(ran.stdout)["steps"] if step["memory"]}
    assert len(times) == 5
    assert all(time["source"] == "calibrated" and 0 < time["seconds"] < 600 for time in times.values())
    drawing = opened.compiled.train["grpo"].name
    assert times[drawing]["most"] > times[drawing]["seconds"]
    assert [path.name for path in opened.store.root.iterdir()] == ["cache"]
    assert calibrated(tmp_path, opened.store, raw=raw)[1:] == ({}, []), "what is kept is not measured again"


def test_what_does_not_fit_is_not_loaded_and_that_is_said(tmp_path, store):
    model = folder_of(tmp_path)  # without weights: loading it would fail
    planned, why, said = calibrated(tmp_path, store, raw=changed(**DEVICE, model=model), room=2**30)
    assert set(why.values()) == {"it would not fit into memory"}
    assert said == []
    assert any(
        line.endswith("time is not known, it would not fit into memory")
        for line in lines(planned, durations(planned, store), why)
    )


def test_what_takes_longer_than_it_may_is_given_up(tmp_path, store):
    _, why, _ = calibrated(tmp_path, store, seconds=0.5)
    assert set(why.values()) == {"it was not done within 0 s"}
    assert len(why) == 8
    assert not (store.root / "cache").exists()


def test_rows_that_are_not_there_are_asked_for(tmp_path, store):
    (tmp_path / "task.py").write_text(ECHO_TASK)
    raw = changed(**DEVICE, task="task.py:Echo")
    _, why, _ = calibrated(tmp_path, store, raw=raw)
    assert why
    assert all("its rows are not prepared" in reason for reason in why.values())
