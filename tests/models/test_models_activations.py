"""What is said to be kept for the backward pass, against what autograd keeps of real models."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM
from trl.trainer.utils import add_fused_lm_head

from tunelab.models.activations import Pass
from tunelab.models.architecture import FAMILIES, architecture
from tunelab.models.footprint import adapted
from tunelab.models.four_bit import FourBit
from tunelab.models.load import load_model, quiet
from tunelab.models.lora_layers import add_in_place
from tunelab.models.spec import ModelRef

ROWS, TOKENS, RANK = 3, 64, 4
SMALL = {
    "vocab_size": 997,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "pad_token_id": 0,
}
T5 = {
    "vocab_size": 997,
    "d_model": 64,
    "d_ff": 160,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "d_kv": 16,
}


def kept_by(model, forward, precision):
    """Bytes that autograd keeps after a forward pass, each storage once, the model's own weights aside."""
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    found, alive = {}, []

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)  # an address must not be used twice
        return tensor

    model.train()
    keeping = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with keeping, torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        forward(model)
    return sum(found.values())


def causal(kind, adaptation, precision, dropout=0.0):
    """A causal model as TRL trains it, and what is known of its adapter."""
    quiet()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SMALL))
    described = architecture({"model_type": kind, **SMALL})
    if adaptation == "lora" and precision == "bf16":
        model = model.to(torch.bfloat16)
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    matrices = adapted(described, "all-linear") if adaptation == "lora" else {}
    if matrices:
        config = LoraConfig(task_type="CAUSAL_LM", r=RANK, lora_dropout=dropout, target_modules="all-linear")
        model = get_peft_model(model, config)
    return model, described, matrices


def learn(model):
    ids = torch.randint(5, 900, (ROWS, TOKENS))
    mask = torch.ones_like(ids)
    mask[0, TOKENS // 2 :] = 0
    model(input_ids=ids, attention_mask=mask, labels=ids, fused_lm_head=True)


def cast_weights(described, adaptation, precision):
    """Bytes of the bf16 copies of linear weights, which are counted with the weights."""
    linear = sum(rows * columns for rows, columns in described.linears.values())
    head = sum(rows * columns for name, (rows, columns) in described.matrices.items() if name == "lm_head")
    return 2 * (linear + head) if (adaptation, precision) == ("full", "bf16") else 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("adaptation", ["full", "lora"])
@pytest.mark.parametrize("kind", FAMILIES)
def test_what_a_causal_model_keeps_is_what_autograd_keeps(kind, adaptation, precision):
    model, described, matrices = causal(kind, adaptation, precision)
    counted = Pass(described, adaptation, precision, ROWS, TOKENS, adapted=RANK * len(matrices)).kept()
    measured = kept_by(model, learn, precision)
    near = {"phi3": 0.05, "gemma3_text": 0.05}.get(kind, 0.03)
    assert counted + cast_weights(described, adaptation, precision) == pytest.approx(measured, rel=near)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_dropout_before_an_adapter_keeps_its_input_and_its_mask(precision):
    model, described, matrices = causal("llama", "lora", precision, dropout=0.1)
    widths = sum(width for _, width in matrices.values())
    counted = Pass(described, "lora", precision, ROWS, TOKENS, adapted=RANK * len(matrices), dropped=widths).kept()
    measured = kept_by(model, learn, precision)
    assert 1 <= counted / measured < 1.2


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_an_adapter_that_adds_in_place_keeps_a_byte_of_what_is_dropped(dropout):
    model, described, matrices = causal("llama", "lora", "fp32", dropout)
    add_in_place(model)
    widths = sum(width for _, width in matrices.values()) if dropout else 0
    counted = Pass(
        described, "lora", "fp32", ROWS, TOKENS, adapted=RANK * len(matrices), dropped=widths, in_place=True
    ).kept()
    assert counted == pytest.approx(kept_by(model, learn, "fp32"), rel=0.03)


@pytest.mark.parametrize(("compute", "precision"), [("fp32", "fp32"), ("bf16", "bf16")])
def test_layers_of_4_bits_answer_in_the_type_that_they_are_asked_in(tmp_path, compute, precision):
    quiet()
    AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SMALL)).save_pretrained(tmp_path)
    ref, described = ModelRef("m", str(tmp_path), None, {}), architecture({"model_type": "llama", **SMALL})
    model = load_model(ref, "cpu", "fp32", four_bit=FourBit("nf4", True, compute))
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=RANK, target_modules="all-linear"))
    counted = Pass(described, "qlora", precision, ROWS, TOKENS, adapted=RANK * len(described.linears)).kept()
    assert counted == pytest.approx(kept_by(model, learn, precision), rel=0.03)


@pytest.mark.parametrize(("precision", "most"), [("fp32", 1.0), ("bf16", 1.4)])
@pytest.mark.parametrize("form", ["relu", "gated-gelu"])
@pytest.mark.parametrize("adaptation", ["full", "lora"])
def test_an_encoder_decoder_is_counted_in_fp32_whatever_it_computes_in(form, adaptation, precision, most):
    quiet()
    settings = T5 | {"feed_forward_proj": form, "decoder_start_token_id": 0}
    model = AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model("t5", **settings))
    described = architecture({"model_type": "t5", **settings})
    if adaptation == "lora":
        model = model.to(torch.bfloat16) if precision == "bf16" else model
        model = get_peft_model(model, LoraConfig(task_type="SEQ_2_SEQ_LM", r=RANK, target_modules="all-linear"))
    ids, mask, answer = torch.ones(ROWS, TOKENS).long(), torch.ones(ROWS, TOKENS).long(), torch.ones(ROWS, 24).long()
    mask[0, 8:] = 0

    def forward(model):
        model(input_ids=ids, attention_mask=mask, decoder_input_ids=answer)

    counted = Pass(described, adaptation, precision, ROWS, TOKENS, answer=24).kept()
    measured = kept_by(model, forward, precision) - cast_weights(described, adaptation, precision)
    assert 0.95 < counted / measured < 1.05 * most


def test_checkpoints_keep_a_layer_s_input_in_place_of_what_it_computes():
    described = architecture({"model_type": "llama", **SMALL, "num_hidden_layers": 60})
    passed = Pass(described, "full", "fp32", ROWS, TOKENS)
    inputs = 60 * ROWS * TOKENS * SMALL["hidden_size"] * 4
    assert passed.checkpoints() == pytest.approx(inputs, rel=0.1)
    assert passed.computed_again() == pytest.approx(passed.kept() / 60, rel=0.1)
    assert passed.checkpoints() < passed.kept() / 5


def test_rows_and_tokens_count_in_full():
    described = architecture({"model_type": "qwen3", **SMALL})
    one, four = (Pass(described, "lora", "bf16", rows, TOKENS).kept() for rows in (1, 4))
    assert four == 4 * one
    longer = Pass(described, "lora", "bf16", 1, 2 * TOKENS).kept()
    assert 2 * one < longer < 2.2 * one  # the mask has a place for every pair of tokens
