"""Adapters stacked over one base against each adapter by itself through PEFT: losses and gradients."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from tunelab.models.packed_attention import packed_attention
from tunelab.models.stacked_adapters import Stack, sharing_weights
from tunelab.models.supervised_head import add_supervised_head

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
BASES = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "biased": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
}
ADAPTERS = [
    {"r": 2, "target_modules": "all-linear"},
    {"r": 8, "target_modules": ["q_proj", "down_proj"], "lora_alpha": 3},
    {"r": 4, "target_modules": ["q_proj", "k_proj", "v_proj"], "use_rslora": True},
]


def model_of(base, settings):
    """An adapter whose product is not 0, as it is when LoRA begins."""
    torch.manual_seed(settings["r"])
    adapted = get_peft_model(sharing_weights(base), LoraConfig(task_type="CAUSAL_LM", **settings))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    add_supervised_head(adapted.get_base_model())
    return adapted.train()


def batch(lengths, seed):
    """Packed rows, of which the second half of each is learnt."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 97, (1, sum(lengths)), generator=draw)
    places = torch.cat([torch.arange(length) for length in lengths])[None]
    halves = torch.cat([torch.arange(length) < length // 2 for length in lengths])[None]
    return {
        "input_ids": ids,
        "labels": ids.masked_fill(halves, -100),
        "position_ids": places,
        "sequence_lengths": lengths,
    }


def gradients(model):
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("kind", BASES)
def test_each_adapter_has_the_loss_and_the_gradients_that_it_has_by_itself(kind):
    torch.manual_seed(0)
    base = BASES[kind]().train()
    stacked, alone = ([model_of(base, dict(settings)) for settings in ADAPTERS] for _ in range(2))
    batches = [batch([5, 9], 1), batch([12], 2), batch([3, 4, 6], 3)]
    divisors = [torch.tensor(n) for n in (7, 20, 5)]
    with packed_attention(base):
        found = Stack(base, stacked).losses(batches, divisors)
        torch.autograd.backward([learnt.loss for learnt in found])
    for model, other, own, divisor, learnt in zip(stacked, alone, batches, divisors, found, strict=True):
        with packed_attention(other):
            expected = other(**own, use_cache=False, learnt_tokens=divisor)
        expected["loss"].backward()
        assert learnt.loss.item() == pytest.approx(expected["loss"].item(), abs=1e-6)
        assert learnt.entropy.item() == pytest.approx(expected["entropy"].item(), rel=1e-5)
        assert int(learnt.tokens) == int(expected["tokens"])
        slopes = gradients(other)
        assert gradients(model).keys() == slopes.keys()
        assert len(slopes) >= 8
        for name, slope in slopes.items():
            assert float((gradients(model)[name] - slope).norm() / slope.norm()) < 1e-5, name


def test_models_that_share_weights_have_modules_of_their_own():
    base = BASES["llama"]()
    view = sharing_weights(base)
    assert all(one is other for one, other in zip(base.parameters(), view.parameters(), strict=True))
    assert all(one is other for one, other in zip(base.buffers(), view.buffers(), strict=True))
    get_peft_model(view, LoraConfig(r=2, target_modules="all-linear"))
    assert not any("lora" in name for name, _ in base.named_modules())


@pytest.mark.parametrize(
    "settings",
    [{"target_modules": ["q_proj"], "use_dora": True}, {"target_modules": ["embed_tokens"]}],
)
def test_an_adapter_that_adds_something_else_is_refused(settings):
    base = BASES["llama"]()
    adapted = get_peft_model(sharing_weights(base), LoraConfig(r=2, task_type="CAUSAL_LM", **settings))
    with pytest.raises(ValueError, match="has an adapter of another kind than plain LoRA on a linear layer"):
        Stack(base, [adapted])


def test_the_base_is_left_without_hooks():
    base = BASES["llama"]().train()
    adapted = [model_of(base, dict(settings)) for settings in ADAPTERS[:2]]
    with packed_attention(base):
        Stack(base, adapted).losses([batch([5], 1)] * 2, [torch.tensor(1)] * 2)
    assert not any(module._forward_hooks for module in base.modules())
