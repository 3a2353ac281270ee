"""A sweep of adapters through the real runner: trained together, each leaves what it leaves by itself."""

import json
import multiprocessing
import time

import pytest
from safetensors.torch import load_file
from study_files import changed, compiled, fingerprints, only
from transformers import LlamaConfig

from tunelab.engine.plan import plan
from tunelab.engine.runner import Runner
from tunelab.engine.step import Together
from tunelab.engine.store import Store
from tunelab.study.api import SilentReporter
from tunelab.study.durations import together_lines
from tunelab.study.footprints import GIB, footprint
from tunelab.study.longest import Longest
from tunelab.study.steps.train_together import dropouts

RANKS = (2, 4, 8)
LORA = {"adaptation": "lora", "loss": "completion", "format": "chat", "rows": 40, "batch_size": 4, "epochs": 2}
STEPS = 20


def sweep(together="auto", **settings):
    """Three ranks, each with a learning rate of its own."""
    train = {f"lora_{rank}": {**LORA, "lora": {"rank": rank}, "lr": 0.0005 * rank, **settings} for rank in RANKS}
    hardware = {"device": "cpu", "micro_batch_size": 4, "together": together}
    return changed(train=train, evaluate={"chat": {"format": "chat", "rows": 4}}, hardware=hardware)


def train(folder, together="auto", **settings):
    """Run a sweep as far as its trainings; return their artifacts by variant."""
    folder.mkdir(exist_ok=True)
    found, store = compiled(folder, sweep(together, **settings)), Store(folder / "store")
    outcome = Runner(store, SilentReporter()).run(found.train.values())
    assert outcome.ok, outcome.messages
    return {name: store.find(step) for name, step in found.train.items()}


def logged(artifact):
    return [json.loads(line) for line in artifact.path("metrics.jsonl").read_text().splitlines()]


def assert_equal(ours, theirs):
    """The same metrics, weights and facts, but for what a run takes."""
    for row, other in zip(logged(ours), logged(theirs), strict=True):
        assert row["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert (row["learning_rate"], row["num_tokens"]) == (other["learning_rate"], other["num_tokens"])
    weights, others = (load_file(a.path("model/adapter_model.safetensors")) for a in (ours, theirs))
    assert max(float((weights[name] - others[name]).abs().max()) for name in others) < 1e-4
    assert ours.record.fingerprint == theirs.record.fingerprint
    assert ours.record.files.keys() == theirs.record.files.keys()
    for key in ("receipt", "steps", "padded", "initial_adapter_sha256"):
        assert ours.record.facts[key] == theirs.record.facts[key]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The sweep once as it comes, once with every adapter by itself."""
    folder = tmp_path_factory.mktemp("sweep")
    return train(folder / "auto"), train(folder / "off", "off")


def test_a_sweep_leaves_what_each_training_leaves_by_itself(swept):
    together, alone = swept
    for name in together:
        assert_equal(together[name], alone[name])
    assert len({artifact.record.files["metrics.jsonl"].sha256 for artifact in together.values()}) == len(RANKS)


def test_records_say_with_which_trainings_and_what_the_trial_said(swept):
    together, alone = swept
    names = {name: f"train/{artifact.directory.name}" for name, artifact in together.items()}
    for name, artifact in together.items():
        said = artifact.record.facts["together"]
        assert set(said["with"]) == set(names.values()) - {names[name]}
        assert said["used"] in ("together", "alone")
        assert min(said["seconds_a_token_together"], said["seconds_a_token_alone"]) > 0
        assert artifact.record.attempts == 1
    assert {json.dumps(a.record.facts["together"]) for a in alone.values()} == {
        '{"used": "alone", "reason": "hardware.together is off"}'
    }


def test_trainings_too_short_for_a_trial_go_by_themselves(tmp_path):
    found = train(tmp_path, max_steps=2)
    said = {json.dumps(artifact.record.facts["together"]) for artifact in found.values()}
    assert said == {'{"used": "alone", "reason": "2 steps, expected at least 20"}'}
    assert [artifact.record.attempts for artifact in found.values()] == [1, 1, 1]


def test_a_plan_names_those_that_may_go_together(tmp_path):
    found, store = compiled(tmp_path, sweep()), Store(tmp_path / "store")
    names = "train/lora_2, train/lora_4, train/lora_8"
    said = [f"{names} may be trained together, where that is faster than the sum of their times"]
    assert together_lines(plan(found.train.values(), store)) == said
    apart = compiled(tmp_path, sweep("off"))
    assert together_lines(plan(apart.train.values(), store)) == []


def test_adapters_that_fit_into_memory_one_by_one_alone_are_trained_so(tmp_path):
    raw, store = sweep(), Store(tmp_path / "store")
    found = compiled(tmp_path, raw)
    Runner(store, SilentReporter()).run(step.inputs["rows"] for step in found.train.values())
    each = [footprint(step, Longest(store)).total for step in found.train.values()]
    raw["hardware"]["memory"] = (max(each) + 1000) / GIB
    found = compiled(tmp_path, raw)
    assert Runner(store, SilentReporter()).run(found.train.values()).ok
    for step in found.train.values():
        said = store.find(step).record.facts["together"]
        assert said["used"] == "alone"
        assert said["reason"].startswith("together they need ")


def test_killed_while_they_train_together_they_go_on_together(tmp_path, swept):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tunelab.study.steps.train_together", "tunelab.study.api"])
    process = context.Process(target=train, args=(tmp_path,))
    process.start()
    deadline = time.monotonic() + 120
    while reached(tmp_path) < STEPS // 2 and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.join()
    assert process.exitcode == -9
    assert not list(tmp_path.glob("store/train/*/record.json"))
    again = train(tmp_path)
    for name, artifact in again.items():
        assert_equal(artifact, swept[0][name])
        assert artifact.record.attempts == 2
        assert len(artifact.record.facts["together"]["with"]) == len(RANKS) - 1
        assert [row["step"] for row in logged(artifact)] == list(range(1, STEPS + 1))


def reached(folder):
    """Steps that all of the trainings have made."""
    logs = [path.read_text().count("\n") for path in folder.glob("store/train/*/metrics.jsonl")]
    return min(logs) if len(logs) == len(RANKS) else 0


def keys(folder, raw):
    return [step.together or step.circumstance["together"] for step in compiled(folder, raw).train.values()]


def test_what_is_each_adapters_own_does_not_keep_them_apart(tmp_path):
    found = sweep()
    own = {"lora": {"rank": 3, "alpha": 7}, "weight_decay": 0.1, "schedule": "cosine", "warmup": 0.2}
    found["train"]["own"] = {**LORA, **own, "max_grad_norm": 0.1, "checkpoints": 2, "lr": 0.1}
    found["seeds"] = [0, 1]
    together = keys(tmp_path, found)
    assert len(together) == 8
    assert isinstance(together[0], Together)
    assert len(set(together)) == 1


@pytest.mark.parametrize(
    "settings",
    [{"loss": "all"}, {"format": "raw"}, {"rows": 48}, {"epochs": 1}, {"batch_size": 8}, {"max_length": 500}],
)
def test_other_rows_or_passes_keep_them_apart(tmp_path, settings):
    found = sweep()
    found["train"]["other"] = {**LORA, **settings}
    together = keys(tmp_path, found)
    assert [together[0] == key for key in together] == [True, True, True, False]


@pytest.mark.parametrize(
    ("settings", "hardware", "reason"),
    [
        ({}, {"together": "off"}, "hardware.together is off"),
        ({}, {"packing": "off"}, "hardware.packing is off"),
        ({}, {"gradient_checkpointing": True}, "hardware.gradient_checkpointing is on"),
        ({}, {"track": ["tensorboard"]}, "hardware.track is set, and trackers follow one training at a time"),
        ({"precision": "bf16"}, {}, "precision is bf16, expected fp32"),
        ({"lora": {"dropout": 0.1}}, {}, "lora.dropout is 0.1, expected 0"),
        ({"adaptation": "full"}, {}, "only adaptation lora of method sft, without a classifier, is trained together"),
        ({"method": "dpo"}, {}, "only adaptation lora of method sft, without a classifier, is trained together"),
    ],
)
def test_what_would_not_be_equal_is_trained_alone_and_says_why(tmp_path, settings, hardware, reason):
    raw = sweep()
    raw["train"] = {name: entry | settings for name, entry in raw["train"].items()}
    raw["hardware"] |= hardware
    assert keys(tmp_path, raw) == [reason] * 3


def test_together_changes_no_fingerprint(tmp_path):
    assert fingerprints(compiled(tmp_path, sweep())) == fingerprints(compiled(tmp_path, sweep("off")))


@pytest.mark.parametrize("switch", ["together", "packing"])
def test_off_may_be_written_as_it_is_documented(tmp_path, switch):
    assert getattr(only(tmp_path, sweep(), f"hardware.{switch}=off").hardware, switch) == "off"


def test_the_dropouts_of_a_base_are_known():
    assert dropouts(LlamaConfig(attention_dropout=0.1)) == "attention_dropout"
    assert dropouts(LlamaConfig()) == ""
