"""Packed attention and the supervised head, against each row alone through the model's own forward pass."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM

from tunelab.models import packed_attention, supervised_head
from tunelab.models.packed_attention import without_packing
from tunelab.models.supervised_head import (
    Logits,
    add_scored_places,
    add_supervised_head,
    logits_of,
    supervised_loss,
)
from tunelab.training.shared_prompts import grow

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 97,
    "pad_token_id": 0,
}
WINDOWS = {"head_dim": 8, "sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]}
ARCHITECTURES = {
    "llama": {},
    "qwen2": {},
    "qwen2-windows": {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    "qwen3": {"head_dim": 8},
    "mistral": {"sliding_window": 7},
    "gemma2": {**WINDOWS, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
    "gemma3_text": WINDOWS,
    "phi3": {},
    "cohere": {"logit_scale": 0.4},
    "granite": {"logits_scaling": 3.0, "attention_multiplier": 0.3},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0},
    "olmo2": {},
}
LENGTHS = (11, 3, 17, 2, 8)


def built(name):
    torch.manual_seed(0)
    kind = name.partition("-")[0]
    config = AutoConfig.for_model(
        kind, **{**({} if kind == "gpt2" else SMALL), "vocab_size": 97, **ARCHITECTURES[name]}
    )
    model = AutoModelForCausalLM.from_config(config)
    for weight in model.parameters():  # larger than initial weights, so that attention and caps have something to do
        torch.nn.init.normal_(weight, std=0.3)
    return model


def rows():
    torch.manual_seed(1)
    found = []
    for length in LENGTHS:
        ids = torch.randint(1, 97, (length,))
        found.append((ids, torch.where(torch.arange(length) < length // 2, -100, ids)))
    return found


def gradients(model):
    found = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    return found


def alone(model):
    """Loss of the learnt tokens, a row at a time, by all logits of the model's own forward pass."""
    summed = sum(
        cross_entropy(model(ids[None]).logits[0, :-1].float(), labels[1:], reduction="sum") for ids, labels in rows()
    )
    loss = summed / sum(int((labels[1:] >= 0).sum()) for _, labels in rows())
    loss.backward()
    return loss.detach(), gradients(model)


def packed(model, found):
    ids, labels = (torch.cat(parts)[None] for parts in zip(*found, strict=True))
    bounds = torch.tensor([0, *(len(ids) for ids, _ in found)]).cumsum(0)
    labels[0, bounds[:-1]] = -100
    positions = torch.cat([torch.arange(len(ids)) for ids, _ in found])[None]
    add_supervised_head(model)
    with packed_attention.packed_attention(model):
        learnt = model(
            input_ids=ids,
            labels=labels,
            position_ids=positions,
            sequence_lengths=LENGTHS,
            use_cache=False,
            learnt_tokens=(labels >= 0).sum(),
        )
        learnt["loss"].backward()
    return learnt


def distance(one, other):
    assert one.keys() == other.keys()
    return max(float((one[k] - other[k]).norm() / other[k].norm().clamp(min=1e-6)) for k in one)


@pytest.mark.parametrize("way", ["one by one", "in a rectangle"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_packed_row_is_what_it_is_alone(name, way, monkeypatch):
    if way == "in a rectangle":  # what other devices than the CPU do
        monkeypatch.setattr(packed_attention, "_one_by_one", packed_attention._in_a_rectangle)
    model = built(name).train()
    assert without_packing(model) is None
    expected, slopes = alone(model)
    learnt = packed(model, rows())
    assert learnt["loss"].item() == pytest.approx(expected.item(), abs=2e-6)
    assert distance(gradients(model), slopes) < 1e-5


@pytest.mark.parametrize("name", ["llama", "qwen2-windows", "gemma2", "gemma3_text", "granite"])
def test_branches_are_what_they_are_behind_their_own_copy_of_the_beginning(name):
    model = built(name).train()
    torch.manual_seed(2)
    beginnings, ends = (torch.randint(1, 97, (9,)), torch.randint(1, 97, (4,))), (8, 3, 1)
    whole = [(beginning, torch.randint(1, 97, (end,))) for beginning in beginnings for end in ends]
    expected = torch.cat([_log_probs(model, *row) for row in whole])
    expected.mean().backward()
    slopes = gradients(model)
    tree = grow([(beginning.tolist(), end.tolist()) for beginning, end in whole])
    add_scored_places(model, temperature=0.7)
    with packed_attention.packed_attention(model):
        found = model(**tree.inputs("cpu"), places=torch.tensor(tree.places), targets=torch.tensor(tree.targets))
        found["log_probs"].mean().backward()
    torch.testing.assert_close(found["log_probs"], expected, rtol=1e-5, atol=1e-5)
    assert distance(gradients(model), slopes) < 1e-5


def _log_probs(model, beginning, end):
    logits = model(torch.cat([beginning, end])[None]).logits[0, len(beginning) - 1 : -1] / 0.7
    return logits.log_softmax(-1).gather(1, end[:, None])[:, 0]


def test_what_was_computed_before_is_computed_after():
    model = built("llama").eval()
    ids = torch.arange(1, 9)[None]
    before = model(ids).logits
    packed(model, rows())
    assert torch.equal(model(ids).logits, before)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("bloom", "bloom has attention of its own"),
        ("llama4_text", "llama4_text has chunked_attention layers"),
        ("mixtral", "mixtral has routed experts"),
    ],
)
def test_what_cannot_be_packed_is_told_with_the_reason(kind, reason):
    config = AutoConfig.for_model(kind)
    assert without_packing(_Kind(config)) == reason


class _Kind:
    """A model of which no weights are made."""

    def __init__(self, config):
        self.config = config
        made = AutoModelForCausalLM._model_mapping[type(config)]
        self._supports_flash_attn = made._supports_flash_attn
        self._supports_attention_backend = made._supports_attention_backend
        self._can_set_attn_implementation = made._can_set_attn_implementation


@pytest.mark.parametrize("tile", [1, 3 * 4 * 50, 1 << 26])
@pytest.mark.parametrize("logits", [Logits(), Logits(0.3, 2.0)])
@pytest.mark.parametrize("frozen", [False, True])
def test_the_head_gives_loss_and_gradients_of_plain_cross_entropy(tile, logits, frozen, monkeypatch):
    monkeypatch.setattr(supervised_head, "TILE", tile)
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 50).requires_grad_(not frozen)
    hidden = torch.randn(1, 20, 8, requires_grad=True)
    labels = torch.where(torch.rand(1, 20) < 0.4, -100, torch.randint(50, (1, 20)))
    scores = head(hidden)[0, :-1] * logits.scale
    scores = scores if logits.softcap is None else logits.softcap * torch.tanh(scores / logits.softcap)
    expected = cross_entropy(scores, labels[0, 1:], reduction="sum") / 7
    wanted = [hidden, *(w for w in head.parameters() if w.requires_grad)]
    slopes = torch.autograd.grad(expected * 2, wanted)
    found = supervised_loss(hidden, labels, head, logits, torch.tensor(7))
    assert found.loss.item() == pytest.approx(expected.item(), rel=1e-6)
    for ours, theirs in zip(torch.autograd.grad(found.loss * 2, wanted), slopes, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    kept = labels[0, 1:] >= 0
    assert int(found.tokens) == int(kept.sum())
    entropy = torch.distributions.Categorical(logits=scores[kept]).entropy().sum()
    assert found.entropy.item() == pytest.approx(entropy.item(), rel=1e-5)
    assert int(found.correct) == int((scores[kept].argmax(-1) == labels[0, 1:][kept]).sum())


def test_a_batch_without_a_learnt_token_has_no_loss_and_no_gradient():
    head, hidden = torch.nn.Linear(8, 50), torch.randn(1, 6, 8, requires_grad=True)
    found = supervised_loss(hidden, torch.full((1, 6), -100), head, Logits(), torch.tensor(3))
    found.loss.backward()
    assert (float(found.loss.detach()), float(hidden.grad.abs().sum()), float(head.weight.grad.abs().sum())) == (
        0,
        0,
        0,
    )


def test_the_head_computes_in_the_type_of_autocast_and_keeps_gradients_in_fp32():
    torch.manual_seed(0)
    head, hidden = torch.nn.Linear(64, 50, bias=False), torch.randn(1, 40, 64, requires_grad=True)
    labels = torch.randint(50, (1, 40))
    exact = supervised_loss(hidden, labels, head, Logits(), torch.tensor(39)).loss.item()
    with torch.autocast("cpu", torch.bfloat16):
        found = supervised_loss(hidden, labels, head, Logits(), torch.tensor(39)).loss
    found.backward()
    assert head.weight.grad.dtype == torch.float32
    assert 0 < abs(found.item() - exact) < 1e-2


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("llama", {}, Logits()),
        ("gemma2", {}, Logits(1.0, 30.0)),
        ("cohere", {}, Logits(0.0625)),
        ("granite", {"logits_scaling": 4.0}, Logits(0.25)),
    ],
)
def test_what_is_done_to_logits_is_read_from_the_configuration(kind, settings, expected):
    assert logits_of(AutoConfig.for_model(kind, **settings)) == expected
