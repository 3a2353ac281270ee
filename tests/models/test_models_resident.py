"""A base is loaded once for several adapters, answers as if it were loaded anew, and gives way to any other model."""

import gc
import weakref

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tunelab.errors import ModelError
from tunelab.models.load import load_backbone, load_model, load_resident
from tunelab.models.resident import resident
from tunelab.models.spec import resolve

TINY = resolve("tiny")
IDS = torch.tensor([[1, 5, 9, 20]])


@pytest.fixture(autouse=True)
def nothing_kept():
    resident.release()
    yield
    resident.release()


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    """Folders of three adapters; the last was begun from the base's own singular values."""
    folders = []
    for seed, start in enumerate((True, True, "pissa")):
        torch.manual_seed(seed)
        config = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=start)
        wrapped = get_peft_model(load_model(TINY, "cpu", "fp32"), config)
        for name, weight in wrapped.named_parameters():
            if "lora_B" in name:
                weight.data.normal_(0, 0.1)
        folders.append(tmp_path_factory.mktemp(f"adapter{seed}"))
        wrapped.save_pretrained(folders[-1])
    return folders


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


def test_adapters_follow_each_other_on_one_base_and_answer_as_if_loaded_anew(adapters):
    first = load_resident(TINY, "cpu", "fp32")
    plain = logits(first)
    for folder in (adapters[0], adapters[1], adapters[0]):
        adapted = load_resident(TINY, "cpu", "fp32", folder)
        assert adapted.get_base_model() is first
        assert torch.equal(logits(adapted), logits_of_new(folder))
        assert not torch.equal(logits(adapted), plain)
        adapted = None
        first = load_resident(TINY, "cpu", "fp32")
        assert torch.equal(logits(first), plain)


def logits_of_new(folder):
    """What a model gives that nothing is kept of, without disturbing what is."""
    kept, resident.key = resident.key, None
    try:
        return logits(load_model(TINY, "cpu", "fp32", folder))
    finally:
        resident.key = kept


def test_one_load_serves_several_adapters(adapters):
    base = load_resident(TINY, "cpu", "fp32", adapters[0]).get_base_model()
    assert load_resident(TINY, "cpu", "fp32", adapters[1]).get_base_model() is base
    assert load_resident(TINY, "cpu", "fp32") is base


def test_a_base_whose_weights_an_adapter_may_have_changed_is_loaded_anew(adapters):
    base = load_resident(TINY, "cpu", "fp32", adapters[2]).get_base_model()
    assert load_resident(TINY, "cpu", "fp32") is not base


@pytest.mark.parametrize("load", [load_model, load_backbone, lambda *how: load_resident(TINY, "cpu", "bf16")])
def test_memory_is_given_back_when_another_model_comes(load):
    kept = weakref.ref(load_resident(TINY, "cpu", "fp32"))
    gc.collect()
    assert kept() is not None
    load(TINY, "cpu", "fp32")
    assert kept() is None


def test_memory_of_a_base_that_holds_itself_is_given_back_though_it_was_set_aside():
    base = load_resident(TINY, "cpu", "fp32")
    base.forward = base.forward  # what wraps a method makes such a ring
    kept = weakref.ref(base)
    gc.freeze()
    del base
    load_resident(TINY, "cpu", "bf16")
    assert kept() is None


def test_nothing_is_left_of_an_adapter_that_does_not_fit(tmp_path, adapters):
    (tmp_path / "adapter_config.json").write_text(
        (adapters[0] / "adapter_config.json").read_text().replace('"r": 2', '"r": 3')
    )
    (tmp_path / "adapter_model.safetensors").write_bytes((adapters[0] / "adapter_model.safetensors").read_bytes())
    plain = logits(load_resident(TINY, "cpu", "fp32"))
    with pytest.raises(ModelError, match="does not fit"):
        load_resident(TINY, "cpu", "fp32", tmp_path)
    assert torch.equal(logits(load_resident(TINY, "cpu", "fp32")), plain)
