"""Training over 4-bit weights on the tiny model: bitsandbytes itself, on the CPU."""

import json

import pytest
import torch
from bitsandbytes.nn.modules import Params4bit

from tunelab.models.four_bit import FourBit
from tunelab.models.load import load_model
from tunelab.models.spec import resolve
from tunelab.training.recipe import Lora, Qlora

IDS = torch.arange(5, 65)[None]


def in_four_bit(compute="fp32", quant_type="nf4"):
    return FourBit(quant_type, True, compute)


def logits(model):
    with torch.inference_mode():
        return model.eval()(IDS).logits.float()


def qlora(bench, name, four_bit, **recipe):
    """Train by qlora; return the model as it was trained, the facts and the logged losses."""
    model = load_model(resolve("tiny"), "cpu", "fp32", four_bit=four_bit)
    settings = Qlora(quant_type=four_bit.quant_type, compute=four_bit.compute)
    facts = bench.train(name, adaptation="qlora", model=model, qlora=settings, **recipe)
    lines = (bench.root / name / "metrics.jsonl").read_text().splitlines()
    return model, facts, [row["loss"] for row in map(json.loads, lines) if "loss" in row]


def distance(one, other):
    return float((one - other).abs().max())


def test_the_loss_falls_over_4_bit_weights(bench):
    _, _, losses = qlora(bench, "run", in_four_bit(), epochs=12, lr=2e-3, lora=Lora(rank=8, alpha=16))
    assert len(losses) == 36
    assert sum(losses[-6:]) < sum(losses[:6]) / 2


@pytest.mark.parametrize("compute", ["fp32", "bf16"])
def test_a_variant_is_evaluated_over_the_4_bit_weights_that_it_was_trained_over(bench, compute):
    four_bit = in_four_bit(compute)
    trained, _, _ = qlora(bench, "run", four_bit, epochs=4)
    folder = bench.root / "run" / "model"
    again = load_model(resolve("tiny"), "cpu", "fp32", folder, four_bit)
    assert distance(logits(again), logits(trained)) < 1e-4
    assert distance(logits(load_model(resolve("tiny"), "cpu", "fp32", folder)), logits(trained)) > 0.1


def test_only_linear_weights_are_in_4_bit_and_norms_and_embeddings_are_fp32(bench):
    trained, _, _ = qlora(bench, "run", in_four_bit("bf16"))
    stored = {name.rpartition(".")[0] for name, weight in trained.named_parameters() if isinstance(weight, Params4bit)}
    assert len(stored) == 4 * 7  # q, k, v, o, gate, up, down in each of four layers
    rest = [weight for weight in trained.parameters() if not isinstance(weight, Params4bit)]
    assert {weight.dtype for weight in rest} == {torch.float32}
    assert all(not weight.requires_grad for name, weight in trained.named_parameters() if "lora_" not in name)


def test_an_adapter_over_4_bit_weights_keeps_fp32_and_starts_where_plain_lora_does(bench):
    _, facts, _ = qlora(bench, "four", in_four_bit())
    assert facts["initial_adapter_sha256"] == bench.train("plain", adaptation="lora")["initial_adapter_sha256"]
    weights = {n: w for n, w in bench.weights("four", adapter=True).items() if "lora_A" in n}
    assert weights
    assert all(bool((w != w.bfloat16().float()).any()) for w in weights.values())


def test_what_is_quantised_how_decides_about_the_weights():
    full = logits(load_model(resolve("tiny"), "cpu", "fp32"))
    nf4, fp4, bf16 = (
        logits(load_model(resolve("tiny"), "cpu", "fp32", four_bit=f))
        for f in (in_four_bit(), in_four_bit(quant_type="fp4"), in_four_bit("bf16"))
    )
    assert min(distance(full, nf4), distance(nf4, fp4)) > 0.1
    assert distance(nf4, bf16) > 1e-3


def test_generating_leaves_4_bit_weights_fit_for_more_training():
    model = load_model(resolve("tiny"), "cpu", "fp32", four_bit=in_four_bit())
    stored = {n: w.detach().clone() for n, w in model.named_parameters() if isinstance(w, Params4bit)}
    before = logits(model)
    model.train()
    assert distance(model(IDS).logits.detach(), before) < 1e-4
    assert all(torch.equal(stored[n], w) for n, w in model.named_parameters() if n in stored)


class Killed(Exception):
    """The process is gone."""


def kill_at(step):
    def progress(done, *_):
        if done == step:
            raise Killed

    return progress


def test_killed_and_resumed_over_4_bit_weights_equals_uninterrupted(bench, same):
    recipe = {"epochs": 3, "batch_size": 4, "schedule": "linear", "warmup": 0.2}
    _, whole, _ = qlora(bench, "whole", in_four_bit(), **recipe)
    with pytest.raises(Killed):
        qlora(bench, "torn", in_four_bit(), progress=kill_at(8), **recipe)
    _, again, _ = qlora(bench, "torn", in_four_bit(), **recipe)
    assert again["steps"] == whole["steps"] == 18
    assert same(bench.weights("whole", adapter=True), bench.weights("torn", adapter=True)) == 0
