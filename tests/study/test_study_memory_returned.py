"""One model's memory is returned before another's is taken: nothing that trained or answered holds on to it."""

import gc
import weakref

import pytest
from study_files import compiled

import tunelab.models.load as loading
from tunelab.engine.runner import Runner
from tunelab.engine.store import Store
from tunelab.models.resident import resident
from tunelab.models.spec import resolve
from tunelab.study.api import SilentReporter

STUDY = {
    "study": "returned", "question": "Is it?", "model": "tiny", "task": "arithmetic",
    "formats": {"chat": {"template": "chat"}}, "evaluate": {"chat": {"format": "chat", "rows": 8}},
    "train": {"one": {"adaptation": "full", "lr": 0.001, "epochs": 1, "batch_size": 8, "rows": 16, "max_steps": 1,
                      "format": "chat"}},
    "hardware": {"device": "cpu"},
}  # fmt: skip
SFT, GRPO = {"method": "sft", "loss": "all"}, {"method": "grpo", "grpo": {"num_generations": 2}}


@pytest.fixture
def loaded(monkeypatch):
    """Weak references to all models that are loaded, while the collector runs only where it is told to."""
    found, load = [], loading._loading

    def noting(ref, loader, *args, **kwargs):
        made = load(ref, loader, *args, **kwargs)
        if hasattr(made, "parameters"):
            found.append(weakref.ref(made))
        return made

    monkeypatch.setattr(loading, "_loading", noting)
    monkeypatch.setattr(loading, "WORTH", 1)
    resident.release()
    gc.collect()
    gc.disable()
    yield found
    gc.enable()
    resident.release()


@pytest.mark.parametrize("entry", [SFT, GRPO])
def test_nothing_is_left_of_a_model_that_was_trained_when_the_next_one_is_loaded(tmp_path, loaded, entry):
    raw = STUDY | {"train": {"one": STUDY["train"]["one"] | entry}}
    outcome = Runner(Store(tmp_path / "store"), SilentReporter()).run([compiled(tmp_path, raw).train["one"]])
    assert outcome.ok, outcome.messages
    trained = list(loaded)
    assert trained[0]() is not None, "a trainer's circles no longer keep its model: looking for them is not needed"
    loading.load_model(resolve("tiny"), "cpu", "fp32")
    assert [ref() for ref in trained] == [None] * len(trained)


def test_models_that_answered_give_way_too(tmp_path, loaded):
    raw = STUDY | {"train": {"one": STUDY["train"]["one"] | SFT}}
    found = compiled(tmp_path, raw)
    outputs = [found.scores[f"{name}/chat"].inputs["outputs"] for name in ("base", "one")]
    outcome = Runner(Store(tmp_path / "store"), SilentReporter()).run(outputs)
    assert outcome.ok, outcome.messages
    assert len(loaded) == 3
    loading.load_model(resolve("tiny"), "cpu", "fp32")
    assert [ref() for ref in loaded[:3]] == [None] * 3
