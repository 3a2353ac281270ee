"""Linear layers whose adapter is added in place: PEFT's numbers and gradients, and PEFT's way where it has to be."""

import copy
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import Linear

sys.path.insert(0, str(Path(__file__).parents[1] / "generation"))

import random_models

from tunelab.models import lora_layers, products
from tunelab.models.lora_layers import LoraLinear, add_in_place
from tunelab.models.products import multiply_faster

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT asks

IDS = torch.tensor([[5, 7, 9, 11, 13, 4], [3, 8, 2, 6, 1, 12]])

CLOSE = 1e-5
"""Relative, as gradients of benchmarks may differ."""


def adapted(name="llama", **told):
    """Return PEFT's model and ours, with adapters that have learnt something."""
    torch.manual_seed(0)
    settings = {"r": 4, "lora_alpha": 12, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **told}
    theirs = get_peft_model(random_models.made(name).float(), LoraConfig(**settings))
    for key, weight in theirs.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(weight, std=0.1)
    ours = copy.deepcopy(theirs)
    multiply_faster(ours)
    add_in_place(ours)
    return theirs, ours


def learnt(model):
    """Return the logits of a pass and the gradients of what is trained."""
    torch.manual_seed(1)
    model.zero_grad()
    logits = model(input_ids=IDS).logits
    logits.float().square().mean().backward()
    return logits.detach(), {name: w.grad.clone() for name, w in model.named_parameters() if w.grad is not None}


def furthest(one, other):
    """Return by how much logits, and gradients relative to their size, are apart."""
    assert one[1].keys() == other[1].keys() != set()
    apart = [float((slope - other[1][name]).norm() / slope.norm()) for name, slope in one[1].items()]
    return max(float((one[0] - other[0]).abs().max() / one[0].abs().max()), *apart)


@pytest.fixture
def calls(monkeypatch):
    """Counts what is added in place while gradients are wanted."""
    found = []
    original = lora_layers._Added.apply
    monkeypatch.setattr(lora_layers._Added, "apply", lambda *given: found.append(given[5]) or original(*given))
    return found


@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma2"])
def test_numbers_and_gradients_are_those_of_peft(name, calls):
    theirs, ours = adapted(name)
    assert furthest(learnt(theirs), learnt(ours)) < CLOSE
    assert len(calls) == sum(isinstance(module, Linear) for module in ours.modules()) > 0
    assert set(calls) == {3.0}
    with torch.inference_mode():
        assert torch.allclose(theirs(input_ids=IDS).logits, ours(input_ids=IDS).logits, atol=1e-5)


def test_it_is_the_same_by_onednn(calls, monkeypatch):
    monkeypatch.setattr(products, "faster", lambda: True)
    monkeypatch.setattr(products, "SMALL", 1)
    theirs, ours = adapted("qwen2")
    assert furthest(learnt(theirs), learnt(ours)) < CLOSE
    assert calls


def test_activations_may_be_computed_again(calls):
    theirs, ours = adapted()
    for model in (theirs, ours):
        model.train()
        model.enable_input_require_grads()
        model.activation_checkpointing_enable()
    assert furthest(learnt(theirs), learnt(ours)) < CLOSE
    assert len(calls) == 2 * sum(isinstance(module, Linear) for module in ours.modules())


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (3,), ()])
def test_states_may_have_any_number_of_dimensions_and_none_at_all(shape, wanted):
    theirs, ours = (next(module for module in model.modules() if isinstance(module, Linear)) for model in adapted())
    states = torch.randn(*shape, theirs.in_features)
    with torch.set_grad_enabled(wanted):
        assert torch.allclose(theirs(states), ours(states), atol=1e-6)
        assert theirs(states).shape == ours(states).shape


def test_a_second_derivative_is_refused():
    _, ours = adapted()
    layer = next(module for module in ours.modules() if isinstance(module, LoraLinear))
    states = torch.randn(3, layer.in_features, requires_grad=True)
    [slope] = torch.autograd.grad(layer(states).square().sum(), states, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_inputs_stay_as_they_are_when_only_numbers_are_wanted():
    _, ours = adapted()
    layer = next(module for module in ours.modules() if isinstance(module, LoraLinear))
    states = torch.randn(2, 3, layer.in_features)
    before = states.clone()
    with torch.no_grad():
        one, other = layer(states), layer(states[0])
    assert torch.equal(states, before)
    assert one.shape == (2, 3, layer.out_features)
    assert torch.allclose(one[0], other, atol=1e-6)


def merged(model):
    model.merge_adapter()


def disabled(model):
    model.base_model.disable_adapter_layers()


def trained_base(model):
    for module in model.modules():
        if isinstance(module, Linear):
            module.base_layer.weight.requires_grad = True


def two(model):
    model.add_adapter("more", model.peft_config["default"])
    model.base_model.set_adapter(["default", "more"])


def hooked(model):
    for module in model.modules():
        if isinstance(module, Linear):
            module.base_layer.register_forward_hook(lambda module, args, output: output * 1.5)


def half(model):
    model.bfloat16()


@pytest.mark.parametrize("change", [merged, disabled, trained_base, two, hooked, half])
def test_what_it_is_not_made_for_is_computed_as_peft_does(change, calls):
    theirs, ours = adapted()
    change(theirs)
    change(ours)
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        assert torch.allclose(theirs(input_ids=IDS).logits, ours(input_ids=IDS).logits, atol=1e-5)
    if change in (trained_base, two, hooked, half):
        assert furthest(learnt(theirs), learnt(ours)) < CLOSE
    assert calls == []


@pytest.mark.parametrize(
    "told", [{"use_dora": True}, {"lora_bias": True}, {"bias": "lora_only"}, {"use_dora": True, "lora_dropout": 0.5}]
)
def test_other_adapters_are_computed_as_peft_does(told, calls):
    theirs, ours = adapted("qwen2", **({"target_modules": ["q_proj"]} if "bias" in str(told) else {}), **told)
    theirs.train()
    ours.train()
    assert furthest(learnt(theirs), learnt(ours)) < CLOSE
    assert calls == []


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_dropout_drops_what_it_drops_for_peft(name, calls):
    theirs, ours = adapted(name, lora_dropout=0.3)
    theirs.train()
    ours.train()
    assert furthest(learnt(theirs), learnt(ours)) < CLOSE
    assert len(calls) == sum(isinstance(module, Linear) for module in ours.modules())
    assert {round(scale, 9) for scale in calls} == {round(3 / 0.7, 9)}
    torch.manual_seed(2)
    with torch.no_grad():
        expected = theirs(input_ids=IDS).logits
    torch.manual_seed(2)
    with torch.no_grad():
        assert torch.allclose(ours(input_ids=IDS).logits, expected, atol=1e-5)


def test_what_dropout_drops_is_dropped_again_when_activations_are_computed_again(calls):
    theirs, ours = adapted(lora_dropout=0.3)
    for model in (theirs, ours):
        model.train()
        model.enable_input_require_grads()
        model.activation_checkpointing_enable()
    assert furthest(learnt(theirs), learnt(ours)) < CLOSE
    assert calls


def test_dropout_keeps_one_byte_of_an_element():
    theirs, ours = (next(m for m in adapted(lora_dropout=0.3)[i].modules() if isinstance(m, Linear)) for i in (0, 1))
    states = torch.randn(5, ours.in_features, requires_grad=True)
    sizes = {}
    for layer in (theirs.train(), ours.train()):
        saved = sizes[type(layer)] = []
        keep = lambda tensor, saved=saved: saved.append((tensor.dtype, tuple(tensor.shape))) or tensor  # noqa: E731
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            layer(states)
    assert sizes[LoraLinear].count((torch.float32, tuple(states.shape))) == 1
    assert sizes[LoraLinear].count((torch.bool, tuple(states.shape))) == 1
    assert sizes[Linear].count((torch.float32, tuple(states.shape))) > 1


def test_dropout_that_is_off_is_no_dropout(calls):
    theirs, ours = adapted(lora_dropout=0.5)
    assert furthest(learnt(theirs.eval()), learnt(ours.eval())) < CLOSE
    assert set(calls) == {3.0}


def test_where_all_is_dropped_peft_computes(calls):
    theirs, ours = adapted(lora_dropout=0.5)
    for model in (theirs, ours):
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 1.0
        model.train()
    with torch.no_grad():
        assert torch.allclose(theirs(input_ids=IDS).logits, ours(input_ids=IDS).logits, atol=1e-5)
    learnt(ours)
    assert calls == []


def test_autocast_is_left_to_peft(calls):
    theirs, ours = adapted()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(theirs(input_ids=IDS).logits, ours(input_ids=IDS).logits)
    assert calls == []


def test_an_adapter_is_saved_loaded_and_taken_off_as_before(tmp_path):
    theirs, ours = adapted()
    ours.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(random_models.made("llama").float(), tmp_path)
    assert all(torch.equal(w, again.state_dict()[name]) for name, w in theirs.state_dict().items() if "lora" in name)
    expected = theirs.merge_and_unload()(input_ids=IDS).logits
    assert torch.allclose(ours.merge_and_unload()(input_ids=IDS).logits, expected, atol=1e-6)
