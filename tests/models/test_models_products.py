"""Linear layers that multiply by oneDNN: the same numbers and gradients, and everything else as it was."""

import copy
import os
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "generation"))

import random_models

from tunelab.generation import footprint
from tunelab.generation.engine.check import refusal
from tunelab.models import device, products, supervised_head
from tunelab.models.architecture import architecture
from tunelab.models.products import Copies, Linear, linear, multiply_faster, multiplying, product

DECIDED = products.faster.__wrapped__


@pytest.fixture(autouse=True)
def faster(monkeypatch):
    """Let any processor count as one where oneDNN is faster, and any product as large enough."""
    monkeypatch.setattr(products, "faster", lambda: True)
    monkeypatch.setattr(products, "SMALL", 1)


@pytest.fixture
def by_onednn(monkeypatch):
    """Counts the products that oneDNN makes."""
    calls = []
    original = products.transposed_product
    monkeypatch.setattr(products, "transposed_product", lambda *given: calls.append(given[0].shape) or original(*given))
    return calls


def network(bias):
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(300, 260, bias=bias), nn.Tanh(), nn.Linear(260, 5, bias=bias))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 300), (1, 7, 300), (2, 3, 4, 300)])
def test_outputs_and_gradients_are_those_of_a_plain_layer(shape, bias, by_onednn):
    plain, ours = network(bias), network(bias)
    multiply_faster(ours)
    states = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    given = [states.clone().requires_grad_() for _ in range(2)]
    made = [model(one) for model, one in zip((plain, ours), given, strict=True)]
    for one in made:
        one.square().sum().backward()
    assert len(by_onednn) == 6  # of each layer the product and two gradients
    torch.testing.assert_close(made[1], made[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(given[1].grad, given[0].grad, rtol=1e-5, atol=1e-5)
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-4)


def test_of_a_frozen_weight_no_gradient_is_made(by_onednn):
    model = network(bias=True)
    multiply_faster(model.requires_grad_(False))
    states = torch.randn(4, 300, requires_grad=True)
    model(states).sum().backward()
    assert len(by_onednn) == 4
    assert states.grad is not None


def test_layers_stay_linear_layers_and_their_weights_what_they_were():
    class Other(nn.Linear):
        pass

    model = nn.ModuleDict({"plain": nn.Linear(4, 4), "other": Other(4, 4)})
    before = copy.deepcopy(model.state_dict())
    multiply_faster(model)
    assert type(model["plain"]) is Linear
    assert type(model["other"]) is Other
    assert isinstance(model["plain"], nn.Linear)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_the_matrices_of_adapters_are_left_alone():
    model = get_peft_model(network(bias=True), LoraConfig(target_modules=["0"]))
    multiply_faster(model)
    layer = model.base_model.model[0]
    assert type(layer.base_layer) is Linear
    assert {type(layer.lora_A["default"]), type(layer.lora_B["default"])} == {nn.Linear}


def test_where_it_is_not_faster_nothing_is_changed(monkeypatch):
    monkeypatch.setattr(products, "faster", lambda: False)
    model = network(bias=True)
    multiply_faster(model)
    assert type(model[0]) is nn.Linear


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_other_precisions_multiply_as_before(kind, by_onednn):
    model = network(bias=True).to(kind)
    multiply_faster(model)
    model(torch.randn(4, 300, dtype=kind)).sum().backward()
    assert not by_onednn


def test_under_autocast_layers_multiply_as_before(by_onednn):
    model = network(bias=True)
    multiply_faster(model)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(torch.randn(4, 300)).dtype == torch.bfloat16
    assert not by_onednn


def test_small_products_are_not_worth_it(monkeypatch, by_onednn):
    monkeypatch.setattr(products, "SMALL", 4 * 300 * 260)
    model = network(bias=True)
    multiply_faster(model)
    with torch.no_grad():
        model(torch.randn(4, 300))
    assert by_onednn == [(4, 300)]


def test_packed_weights_answer_until_they_are_given_back(by_onednn):
    model = network(bias=True)
    states = torch.randn(4, 300)
    expected = model(states).detach()
    multiply_faster(model)
    copies = Copies(model)
    assert copies.layers == [model[0]]  # the other is too small to be worth it
    with torch.no_grad(), multiplying(copies):
        assert model[0].copies is copies
        torch.testing.assert_close(model(states), expected, rtol=1e-5, atol=1e-5)
    assert model[0].copies is None
    assert len(by_onednn) == 2


def test_a_gradient_goes_through_the_weights_themselves():
    model = network(bias=True)
    multiply_faster(model)
    with multiplying(Copies(model)):
        model(torch.randn(4, 300)).sum().backward()
    assert model[0].weight.grad is not None


def test_many_weights_are_not_copied(monkeypatch):
    model = network(bias=True)
    multiply_faster(model)
    monkeypatch.setattr(products, "MOST_PACKED", 300 * 260 * 4 - 1)
    assert Copies(model).layers == []


def test_under_autocast_no_copy_is_made():
    model = network(bias=True)
    multiply_faster(model)
    copies = Copies(model)
    with torch.no_grad(), multiplying(copies), torch.autocast("cpu", torch.bfloat16):
        assert model(torch.randn(4, 300)).dtype == torch.bfloat16
    assert copies._made == {}


def test_a_model_that_autocasts_by_itself_is_the_engines_all_the_same():
    model = random_models.made("llama", hidden_size=256, intermediate_size=512).float()
    multiply_faster(model)
    assert any(layer.weight.numel() >= 1 << 16 for layer in model.modules() if isinstance(layer, Linear))
    model.forward = torch.autocast("cpu", torch.bfloat16)(model.forward)
    assert refusal(model) == ""


@pytest.mark.parametrize("four_bit", [False, True])
def test_the_estimate_counts_the_weights_that_are_copied(monkeypatch, four_bit):
    monkeypatch.setattr(footprint, "wide_amd", lambda: True)
    model = random_models.made("llama", hidden_size=256, intermediate_size=512, vocab_size=1000).float()
    multiply_faster(model)
    described = architecture(model.config.to_dict())
    layers = [model.lm_head] if four_bit else Copies(model).layers
    assert footprint.copies(described, "fp32", "cpu", four_bit) == sum(layer.weight.nbytes for layer in layers) > 0
    assert footprint.copies(described, "bf16", "cpu", four_bit) == 0


def test_a_gradient_keeps_what_it_needs_alone():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda saved: kept.append(saved.shape) or saved, lambda saved: saved):
        for trained in (True, False):
            layer = nn.Linear(300, 260).requires_grad_(trained)
            multiply_faster(layer)
            layer(torch.randn(7, 300, requires_grad=not trained))
    assert kept == [(7, 300), (260, 300)]


@pytest.mark.parametrize("block", [1, 1 << 22])
def test_the_heads_gradient_is_added_in_fp32_whatever_rounds_the_rest(monkeypatch, block):
    monkeypatch.setattr(supervised_head, "ADDED", block)
    one, other = torch.randn(40, 8), torch.randn(8, 12)
    exact = torch.ones(40, 12) + one @ other
    for rounded in (False, True):
        total = torch.ones(40, 12)
        with torch.autocast("cpu", torch.bfloat16, enabled=rounded):
            supervised_head._add_product(total, one, other)
        torch.testing.assert_close(total, exact, rtol=1e-5, atol=1e-5)


def test_functions_equal_torchs(by_onednn):
    one, other, bias = torch.randn(6, 8), torch.randn(5, 8), torch.randn(5)
    torch.testing.assert_close(linear(one, other, bias), nn.functional.linear(one, other, bias))
    torch.testing.assert_close(product(one, other.t()), one @ other.t())
    assert len(by_onednn) == 2


@pytest.mark.parametrize(
    ("vendor", "flags", "expected"),
    [
        ("AuthenticAMD", "fpu avx2 avx512f", True),
        ("AuthenticAMD", "fpu avx2", False),
        ("GenuineIntel", "avx512f", False),
    ],
)
def test_the_processor_is_read_from_its_description(tmp_path, monkeypatch, vendor, flags, expected):
    said = tmp_path / "cpuinfo"
    said.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: {flags}\n\nprocessor\t: 1\nvendor_id\t: x\n")
    monkeypatch.setattr(device, "PROCESSORS", said)
    assert device.wide_amd.__wrapped__() is expected
    monkeypatch.setattr(device, "PROCESSORS", tmp_path / "none")
    assert device.wide_amd.__wrapped__() is False


@pytest.mark.parametrize("amd", [True, False])
def test_where_it_is_faster_few_kernels_are_kept_unless_somebody_said_how_many(monkeypatch, amd):
    monkeypatch.setattr(products, "wide_amd", lambda: amd)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "")
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    assert DECIDED() is amd
    assert os.environ.get("ONEDNN_PRIMITIVE_CACHE_CAPACITY") == (str(products.KEPT) if amd else None)
    assert os.environ["LRU_CACHE_CAPACITY"] == "7"
