"""What 4-bit weights change in a plan, and what they leave as it was."""

import pytest
from study_files import changed, compiled

CPU = {"device": "cpu"}


def planned(folder, hardware=None, train=None, **entry):
    settings = {"format": "chat", "loss": "all", **entry}
    raw = changed(train={"sft": settings}, hardware=CPU | (hardware or {}), **(train or {}))
    return compiled(folder, raw)


def trained(folder, **settings):
    return planned(folder, **settings).train["sft"].fingerprint


@pytest.mark.parametrize(("name", "value"), [("quant_type", "fp4"), ("double_quant", False), ("compute", "bf16")])
def test_4_bit_settings_change_the_training_over_4_bit_weights_only(tmp_path, name, value):
    settings = {name: value}
    assert trained(tmp_path, adaptation="qlora", qlora=settings) != trained(tmp_path, adaptation="qlora")
    for adaptation in ("full", "lora"):
        assert trained(tmp_path, adaptation=adaptation, qlora=settings) == trained(tmp_path, adaptation=adaptation)


def test_settings_of_the_adapter_count_over_4_bit_weights_too(tmp_path):
    assert trained(tmp_path, adaptation="qlora", lora={"rank": 3}) != trained(tmp_path, adaptation="qlora")
    assert trained(tmp_path, adaptation="qlora") != trained(tmp_path, adaptation="lora")


def test_the_recipe_of_other_adaptations_says_nothing_of_4_bit_weights(tmp_path):
    for adaptation in ("full", "lora"):
        assert "qlora" not in planned(tmp_path, adaptation=adaptation).train["sft"].settings["recipe"]


def test_what_would_run_elsewhere_is_no_identity(tmp_path):
    allowed = trained(tmp_path, adaptation="qlora", qlora={"fallback": "lora"})
    assert allowed == trained(tmp_path, adaptation="qlora")


def test_automatic_compute_is_written_as_what_it_is(tmp_path):
    step = planned(tmp_path, adaptation="qlora").train["sft"]
    assert step.settings["recipe"]["qlora"] == {"quant_type": "nf4", "double_quant": True, "compute": "fp32"}


@pytest.mark.parametrize(("entry", "counts"), [({}, False), ({"qlora": {"compute": "bf16"}}, True),
                                               ({"lora": {"dropout": 0.1}}, True)])  # fmt: skip
def test_the_micro_batch_counts_over_4_bit_weights_where_it_rounds_or_draws(tmp_path, entry, counts):
    one, other = (
        trained(tmp_path, adaptation="qlora", hardware={"micro_batch_size": size}, **entry) for size in (2, 4)
    )
    assert (one != other) is counts


@pytest.mark.parametrize("compute", ["fp32", "bf16"])
def test_the_generation_batch_counts_where_4_bit_weights_round(tmp_path, compute):
    def generated(size):
        entry = {"adaptation": "qlora", "qlora": {"compute": compute}}
        found = planned(tmp_path, hardware={"generation_batch_size": size}, **entry)
        return found.scores["sft/chat"].inputs["outputs"].settings["batch_size"]

    assert (generated(2) == generated(4)) is (compute == "fp32")


def test_base_weights_in_4_bit_change_what_the_untouched_model_says_and_nothing_else(tmp_path):
    full, four = (planned(tmp_path, train={"base_weights": w}, adaptation="lora") for w in ("full", "nf4"))
    assert full.train["sft"].fingerprint == four.train["sft"].fingerprint
    assert full.scores["sft/chat"].fingerprint == four.scores["sft/chat"].fingerprint
    assert full.scores["base/chat"].fingerprint != four.scores["base/chat"].fingerprint
    assert "weights" not in full.scores["base/chat"].inputs["outputs"].settings
    assert planned(tmp_path, adaptation="lora").scores["base/chat"].fingerprint == full.scores["base/chat"].fingerprint


def test_adapters_over_4_bit_weights_have_a_rank_in_the_comparison(tmp_path):
    found = planned(tmp_path, adaptation="qlora", lora={"rank": 5})
    [cell] = [c for c in found.compare.settings["cells"] if c["cell"] == "sft/chat"]
    assert (cell["size"], cell["factors"]["adaptation"]) == (5, "qlora")
