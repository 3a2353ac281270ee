"""What a configuration says about a model's size, against the models that transformers and PEFT build from it."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, DynamicCache, EncoderDecoderCache
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tunelab.files import read_json
from tunelab.models.architecture import FAMILIES, architecture
from tunelab.models.footprint import adapted, adapter_parameters, cached_elements, four_bit_bytes
from tunelab.models.four_bit import FourBit
from tunelab.models.load import load_model, quiet
from tunelab.models.spec import ModelRef, known_config, resolve

SMALL = {
    "vocab_size": 997,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "pad_token_id": 0,
}
SHAPES = (
    {"num_key_value_heads": 1},
    {"num_key_value_heads": 4, "attention_bias": True, "mlp_bias": True},
    {"num_key_value_heads": 2, "num_hidden_layers": 2, "hidden_size": 96, "num_attention_heads": 6},
)
T5 = {
    "vocab_size": 997,
    "d_model": 64,
    "d_ff": 160,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "d_kv": 8,
}
PUBLISHED = {
    "Qwen2.5-7B": (
        7_615_616_512,
        {"model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
         "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False},
    ),
    "Qwen2.5-1.5B": (
        1_543_714_304,
        {"model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
         "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True},
    ),
    "Qwen3-8B": (
        8_190_735_360,
        {"model_type": "qwen3", "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36,
         "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
         "tie_word_embeddings": False},
    ),
    "Gemma-2-2B": (
        2_614_341_888,
        {"model_type": "gemma2", "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
         "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 256000},
    ),
    "Llama-3.2-1B": (
        1_235_814_400,
        {"model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
         "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128256,
         "tie_word_embeddings": True},
    ),
}  # fmt: skip


def built(kind, settings, device="meta"):
    """The model that transformers makes of a configuration."""
    quiet()
    config = AutoConfig.for_model(kind, **settings)
    maker = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with torch.device(device):
        return maker.from_config(config)


def described(kind, settings):
    found = architecture({"model_type": kind, **settings})
    assert found is not None
    return found


def count(model):
    return sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize(("name", "expected"), [(name, size) for name, (size, _) in PUBLISHED.items()])
def test_published_models_have_their_published_number_of_parameters(name, expected):
    assert architecture(PUBLISHED[name][1]).parameters == expected


@pytest.mark.parametrize("tied", [True, False, None])
@pytest.mark.parametrize("kind", FAMILIES)
def test_parameters_are_those_of_the_model_that_is_built(kind, tied):
    for shape in SHAPES:
        settings = SMALL | shape | ({} if tied is None else {"tie_word_embeddings": tied})
        model, found = built(kind, settings), described(kind, settings)
        assert found.parameters == count(model)
        modules = dict(model.named_modules())
        assert all(tuple(modules[name].weight.shape) == shape for name, shape in found.matrices.items())


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_file_that_leaves_fields_out_means_the_defaults_of_its_type(kind):
    """Files of the hub are sparse; Gemma's say neither that heads are wider nor that embeddings are tied."""
    optional = ("num_key_value_heads", "head_dim", "tie_word_embeddings", "attention_bias", "sliding_window")
    default = CONFIG_MAPPING[kind]()
    sparse = {name: value for name, value in default.to_dict().items() if name not in optional}
    assert architecture(sparse) == architecture(default.to_dict())


@pytest.mark.parametrize("form", ["relu", "gated-gelu"])
@pytest.mark.parametrize("kind", ["t5", "mt5"])
def test_parameters_of_encoder_decoders_are_those_of_the_model_that_is_built(kind, form):
    settings = T5 | {"feed_forward_proj": form}
    assert described(kind, settings).parameters == count(built(kind, settings))


def test_a_head_of_its_own_counts_in_t5_too(tmp_path):
    """Files of Flan-T5 say so and hold it; transformers then keeps the two apart."""
    model = built("t5", T5, device="cpu")
    model.save_pretrained(tmp_path)
    config = read_json(tmp_path / "config.json") | {"tie_word_embeddings": False}
    assert architecture(config).parameters == count(model) + 997 * 64


def test_the_bundled_models_are_described_exactly():
    for name, maker in (("tiny", AutoModelForCausalLM), ("tiny-t5", AutoModelForSeq2SeqLM)):
        ref = resolve(name)
        assert architecture(known_config(ref)).parameters == count(maker.from_pretrained(ref.location))


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "qwen3_moe", **SMALL},
        {"model_type": "gemma3", "text_config": SMALL},
        {"model_type": "llama", "hidden_size": 64},
        {"model_type": "llama", **SMALL, "quantization_config": {"quant_method": "gptq"}},
        {"model_type": "gpt2", "n_embd": 64},
        {},
    ],
)
def test_what_is_not_known_exactly_is_not_guessed(config):
    assert architecture(config) is None


@pytest.mark.parametrize("targets", ["all-linear", ("q_proj", "v_proj"), ("layers.1.self_attn.o_proj", "embed_tokens")])
@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma2"])
def test_adapters_have_the_size_that_peft_gives_them(kind, targets):
    settings = SMALL | SHAPES[0] | {"tie_word_embeddings": False}
    config = LoraConfig(r=5, target_modules=targets if isinstance(targets, str) else list(targets))
    model = get_peft_model(built(kind, settings, device="cpu"), config)
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert adapter_parameters(adapted(described(kind, settings), targets), 5) == trained


@pytest.mark.parametrize(("kind", "settings"), [("phi3", SMALL), ("t5", T5)])
def test_adapters_on_all_layers_have_peft_s_size_in_other_families(kind, settings):
    model = get_peft_model(built(kind, settings, device="cpu"), LoraConfig(r=3, target_modules="all-linear"))
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert adapter_parameters(adapted(described(kind, settings), "all-linear"), 3) == trained


def test_targets_that_no_module_is_named_by_are_not_known():
    model = described("llama", SMALL)
    assert adapted(model, ("q_proj", "query")) is None
    assert adapted(model, ("proj",)) is None


def elements(cache):
    return sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)


WINDOWS = [
    ("llama", {}),
    ("qwen3", {"head_dim": 24}),
    ("mistral", {"sliding_window": 12}),
    ("qwen2", {"sliding_window": 12, "use_sliding_window": True, "max_window_layers": 1}),
    ("qwen2", {"sliding_window": 12, "use_sliding_window": False, "max_window_layers": 1}),
    ("gemma2", {"sliding_window": 12}),
    ("gemma3_text", {"sliding_window": 12, "num_hidden_layers": 8}),
]


@pytest.mark.parametrize("tokens", [8, 30])
@pytest.mark.parametrize(("kind", "more"), WINDOWS)
def test_keys_and_values_are_those_of_a_real_cache(kind, more, tokens):
    settings = SMALL | SHAPES[0] | more
    model = built(kind, settings, device="cpu").eval()
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        for _ in range(tokens):
            model(input_ids=torch.ones(2, 1, dtype=torch.long), past_key_values=cache, use_cache=True)
    assert elements(cache) == 2 * cached_elements(described(kind, settings), tokens - 3, 3)


def test_the_cache_of_an_encoder_decoder_has_what_was_read_and_what_was_written():
    model = built("t5", T5 | {"decoder_start_token_id": 0}, device="cpu").eval()
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    with torch.no_grad():
        model(input_ids=torch.ones(2, 9, dtype=torch.long), decoder_input_ids=torch.ones(2, 4, dtype=torch.long),
              past_key_values=cache, use_cache=True)  # fmt: skip
    found = elements(cache.self_attention_cache) + elements(cache.cross_attention_cache)
    assert found == 2 * cached_elements(described("t5", T5), 9, 4)


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize(("kind", "settings"), [("llama", SMALL | {"hidden_size": 256}), ("t5", T5 | {"d_model": 256})])
def test_weights_of_four_bits_take_what_bitsandbytes_takes(tmp_path, kind, settings, double):
    settings = settings | {"decoder_start_token_id": 0}
    built(kind, settings, device="cpu").save_pretrained(tmp_path)
    model = load_model(ModelRef("m", str(tmp_path), None, {}), "cpu", "fp32", four_bit=FourBit("nf4", double, "fp32"))
    found = four_bit_bytes(described(kind, settings), "fp32", {"double_quant": double})
    assert found == pytest.approx(held(model), rel=0.02)


def held(model):
    """The bytes of a model's weights and of the scales beside them; tables of a few words are left out."""
    total = 0
    for weight in model.parameters():
        total += weight.nbytes
        if state := getattr(weight, "quant_state", None):
            total += state.absmax.nbytes + (state.state2.absmax.nbytes if state.nested else 0)
    return total
