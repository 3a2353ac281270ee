"""Packed training of the tiny model against TRL's padded one: the same rows, losses, gradients and weights."""

import json
import re

import pytest
import torch
from transformers import AttentionInterface, BloomConfig, BloomForCausalLM

from tunelab.generation.engine import attention as engine_attention
from tunelab.models import packed_attention
from tunelab.models.four_bit import FourBit
from tunelab.models.load import load_model
from tunelab.models.packed_attention import NAME
from tunelab.models.spec import resolve
from tunelab.training.packing import unpackable
from tunelab.training.recipe import Lora, Qlora

LR = 1e-4


class Watched:
    """A model that is trained, with the token ids that it read and the gradients of its last optimiser step."""

    def __init__(self, four_bit=None):
        self.model = load_model(resolve("tiny"), "cpu", "fp32", four_bit=four_bit)
        self.read, self.gradients = [], {}
        self.model.register_forward_pre_hook(self._reading, with_kwargs=True)
        for name, weight in self.model.named_parameters():
            if weight.is_floating_point():
                weight.register_post_accumulate_grad_hook(lambda w, name=name: self._learning(name, w))

    def _reading(self, model, args, kwargs):
        ids = kwargs["input_ids"]
        if model.training and "cu_seq_lens_q" in kwargs:
            self.read += [row.tolist() for row in ids[0].split(kwargs["cu_seq_lens_q"].diff().tolist())]
        elif model.training:
            self.read += [row[mask.bool()].tolist() for row, mask in zip(ids, kwargs["attention_mask"], strict=True)]

    def _learning(self, name, weight):
        self.gradients[name] = weight.grad.clone()


def both(bench, **recipe):
    """The same training packed and padded."""
    found = []
    for packing in ("auto", "off"):
        watched = Watched(recipe.get("four_bit"))
        settings = {k: v for k, v in recipe.items() if k != "four_bit"}
        facts = bench.train(packing, packing=packing, model=watched.model, **{"lr": LR, **settings})
        found.append((watched, facts))
    (_, facts), (_, padded) = found
    assert facts["padded"] is None
    assert padded["padded"] == "hardware.packing is off"
    return found


def logged(bench, name):
    return [json.loads(line) for line in (bench.root / name / "metrics.jsonl").read_text().splitlines()]


FOUR = FourBit("nf4", True, "fp32")
CASES = {
    "completion": {},
    "all": {"loss": "all"},
    "accumulated": {"micro": 2},
    "a row a pass": {"micro": 1, "loss": "all"},
    "uneven": {"n": 21, "micro": 4},
    "lora": {"adaptation": "lora", "lora": Lora(rank=4, alpha=8)},
    "lora on names": {"adaptation": "lora", "lora": Lora(rank=4, targets=("q_proj", "down_proj")), "loss": "all"},
    "qlora": {"adaptation": "qlora", "lora": Lora(rank=4), "four_bit": FOUR, "qlora": Qlora(compute="fp32")},
    "weight decay": {"weight_decay": 0.1, "warmup": 0.4, "schedule": "cosine", "epochs": 2},
}


@pytest.mark.parametrize("case", CASES)
def test_packed_rows_teach_what_padded_ones_do(bench, case):
    (packed, facts), (padded, expected) = both(bench, **CASES[case])
    assert packed.read == padded.read
    assert len(packed.read) >= 21
    assert facts["steps"] == expected["steps"]
    assert facts.get("initial_adapter_sha256") == expected.get("initial_adapter_sha256")
    for ours, theirs in zip(logged(bench, "auto"), logged(bench, "off"), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
        assert ours == {key: pytest.approx(value, rel=1e-4, abs=1e-6) for key, value in theirs.items()}
    weights, others = (dict(w.model.named_parameters()) for w in (packed, padded))
    assert all(float((weights[n].float() - others[n].float()).detach().abs().max()) < 1e-4 for n in others)


@pytest.mark.parametrize("loss", ["all", "completion"])
@pytest.mark.parametrize("micro", [8, 2])
def test_gradients_of_a_step_are_those_of_padded_rows(bench, loss, micro):
    (packed, _), (padded, _) = both(bench, n=8, loss=loss, micro=micro)
    assert packed.gradients.keys() == padded.gradients.keys()
    assert len(packed.gradients) > 40
    for name, slope in padded.gradients.items():
        assert float((packed.gradients[name] - slope).norm() / slope.norm()) < 1e-5, name


def test_a_killed_packed_training_goes_on_to_the_same_weights(bench, same):
    recipe = {"epochs": 2, "batch_size": 4, "adaptation": "lora", "lora": Lora(rank=4)}
    bench.train("whole", **recipe)

    def kill(done, total, unit):
        if done == 8:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        bench.train("torn", progress=kill, **recipe)
    bench.train("torn", **recipe)
    assert same(bench.weights("whole", adapter=True), bench.weights("torn", adapter=True)) == 0


def test_the_model_attends_afterwards_as_it_did_before(bench):
    model = load_model(resolve("tiny"), "cpu", "fp32")
    before = model.config._attn_implementation
    bench.train("one", n=8, model=model)
    assert model.config._attn_implementation == before != NAME
    assert NAME not in (bench.root / "one" / "model" / "config.json").read_text()


@pytest.mark.parametrize("adaptation", ["full", "lora"])
def test_checkpointed_activations_change_nothing(bench, same, adaptation):
    lora = adaptation == "lora"
    for checkpointing in (False, True):
        bench.train(f"{checkpointing}", n=8, loss="all", checkpointing=checkpointing, adaptation=adaptation)
    assert same(bench.weights("True", lora), bench.weights("False", lora)) == 0


def test_bf16_differs_from_fp32_no_more_packed_than_padded(bench):
    found = {}
    for precision in ("fp32", "bf16"):
        for packing in ("auto", "off"):
            bench.train(precision + packing, n=16, precision=precision, packing=packing, lr=LR, loss="all")
            found[precision, packing] = torch.tensor([row["loss"] for row in logged(bench, precision + packing)])
    packed, padded = (float((found["bf16", p] - found["fp32", "off"]).abs().max()) for p in ("auto", "off"))
    assert 0 < packed < max(2 * padded, 5e-3)


def test_a_model_that_cannot_be_packed_is_padded_and_says_so(bench):
    config = BloomConfig(vocab_size=512, hidden_size=32, n_layer=1, n_head=2, pad_token_id=0)
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="packing: rows are padded, as bloom has attention of its own"):
        facts = bench.train("bloom", n=8, model=BloomForCausalLM(config))
    assert facts["padded"] == "bloom has attention of its own"
    assert facts["steps"] == 1


def leaking(module, query, key, value, attention_mask, scaling=None, **kwargs):
    """Attention that does not know where a row ends."""
    found = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scaling, enable_gqa=True
    )
    return found.transpose(1, 2), None


def test_packing_that_says_something_else_of_rows_is_not_used(bench):
    ours = AttentionInterface._global_mapping[NAME]
    AttentionInterface.register(NAME, leaking)
    try:
        reason = unpackable(load_model(resolve("tiny"), "cpu", "fp32"), bench.rows().rows, exact=True)
    finally:
        AttentionInterface.register(NAME, ours)
    assert re.fullmatch(r"rows have a loss of \d\.\d{6} packed, of \d\.\d{6} padded", reason)
    assert unpackable(load_model(resolve("tiny"), "cpu", "fp32"), bench.rows().rows, exact=True) is None


def test_a_head_that_does_more_than_is_known_of_it_is_not_replaced(bench):
    model = load_model(resolve("tiny"), "cpu", "fp32")

    def sharper(module, args, output):
        output.logits *= 2

    model.register_forward_hook(sharper)
    reason = unpackable(model, bench.rows().rows, exact=True)
    assert re.fullmatch(r"rows have a loss of \d+\.\d{6} packed, of \d+\.\d{6} by its own head", reason)


def test_trying_takes_nothing_from_the_draws_of_the_training(bench):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert unpackable(load_model(resolve("tiny"), "cpu", "fp32"), bench.rows().rows, exact=True) is None
    assert torch.equal(torch.rand(3), expected)


def test_attention_of_training_and_of_the_engine_are_known_side_by_side():
    known = AttentionInterface()
    assert known[NAME] is packed_attention.attend
    assert known[engine_attention.NAME] is engine_attention.packed_attention
