"""Cells and plans: equal work is one step, and identity is exactly what can change a result."""

import json
import re
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
from study_files import ECHO_TASK, STUDY, changed, compiled, fingerprints, kinds, only, opened, put

from tunelab.engine.plan import topological
from tunelab.errors import StudyError
from tunelab.models import device as devices
from tunelab.study.cells import cells
from tunelab.study.compile import compile_study
from tunelab.study.read import bundled, read_study
from tunelab.study.smoke import smoke
from tunelab.training.recipe import Lora, Recipe

GOLDEN = {
    "quickstart": {"prepare": 3, "check": 2, "train": 4, "generate": 10, "score": 10, "compare": 1, "report": 1},
    "chat-template": {
        "prepare": 2,
        "check": 1,
        "train": 8,
        "pairs": 2,
        "generate": 20,
        "score": 20,
        "compare": 1,
        "report": 1,
    },
}


@pytest.mark.parametrize(("name", "expected"), GOLDEN.items())
def test_the_plan_of_a_bundled_study_is_as_small_as_it_can_be(name, expected):
    assert kinds(compile_study(read_study(name))) == expected


def baselines(found):
    """What each cell is compared with."""
    return {cell.name: cell.baseline and cell.baseline.name for cell in found.cells}


@pytest.mark.parametrize("name", bundled())
def test_every_bundled_study_compiles_in_full_and_as_smoke(name):
    points = read_study(name)
    full = compile_study(points)
    small = compile_study([(label, smoke(study)) for label, study in points])
    assert set(kinds(small)) == set(kinds(full))
    assert small.study.study == f"{name}-smoke"
    served = compile_study([(label, smoke(study, server="http://127.0.0.1/v1")) for label, study in points])
    assert baselines(small) == baselines(served) == baselines(full)
    assert (small.left_out, small.settled.notices) == (full.left_out, full.settled.notices)
    assert not set(fingerprints(small)) & set(fingerprints(full))
    assert all(step.blocked is None for step in (*small.train.values(), *small.scores.values(), *small.checks))


def test_a_variant_evaluated_under_two_formats_is_trained_once(tmp_path):
    found = compiled(tmp_path, changed(train={"sft": {"format": "chat", "loss": "all"}}))
    assert kinds(found) == {"prepare": 2, "check": 1, "train": 1, "generate": 4, "score": 4, "compare": 1, "report": 1}


def test_two_names_for_the_same_work_are_one_step(tmp_path):
    entry = {"format": "chat", "loss": "all"}
    found = compiled(
        tmp_path, changed(train={"one": entry, "two": entry}, formats=STUDY["formats"] | {"c": {"template": "chat"}})
    )
    assert found.train["one"].fingerprint == found.train["two"].fingerprint
    assert kinds(found)["train"] == 1


@pytest.mark.parametrize(
    "hardware",
    [
        {"micro_batch_size": 2},
        {"packing": "off"},
        {"generation_batch_size": 3},
        {"gradient_checkpointing": True},
        {"track": ["tensorboard"]},
        {"device": "cpu"},
        {"generation": "plain"},
    ],
)
def test_hardware_changes_no_fingerprint_of_greedy_fp32_work_without_dropout(tmp_path, hardware):
    device = {"device": "cpu"}
    assert fingerprints(compiled(tmp_path, changed(hardware=device | hardware))) == fingerprints(
        compiled(tmp_path, changed(hardware=device))
    )


OTHER = {
    "adaptation": "lora",
    "head": "classifier",
    "loss": "completion",
    "lr": 0.5,
    "epochs": 2,
    "batch_size": 4,
    "weight_decay": 0.1,
    "warmup": 0.1,
    "schedule": "cosine",
    "max_grad_norm": 2.0,
    "max_length": 99,
    "max_too_long": 0.5,
    "max_steps": 3,
    "checkpoints": 2,
    "precision": "bf16",
}


def trained(tmp_path, **settings):
    entry = {"format": "chat", "loss": "all", **settings}
    found = compiled(tmp_path, changed(task="sst2", train={"sft": entry}, hardware={"device": "cpu"}))
    return found.train["sft"].fingerprint


@pytest.mark.parametrize("name", sorted(set(Recipe.model_fields) - {"method", "lora", "qlora", "grpo", "dpo"}))
def test_every_recipe_field_changes_the_training(tmp_path, name):
    assert trained(tmp_path, **{name: OTHER[name]}) != trained(tmp_path)


OTHER_OF_METHOD = {
    "grpo": {
        "num_generations": 3,
        "beta": 0.5,
        "temperature": 0.5,
        "top_p": 0.5,
        "max_new_tokens": 9,
        "loss_type": "bnpo",
        "scale_rewards": "none",
        "rewards": {"format": 0.2},
    },
    "dpo": {"beta": 0.5, "loss_type": "ipo", "pairs": "target", "samples": 3, "temperature": 0.5, "seed": 1},
}


@pytest.mark.parametrize(("method", "name"), [(m, name) for m, found in OTHER_OF_METHOD.items() for name in found])
def test_settings_of_a_method_change_the_training_by_that_method_only(tmp_path, method, name):
    settings = {method: {name: OTHER_OF_METHOD[method][name]}}
    assert trained(tmp_path, method=method, **settings) != trained(tmp_path, method=method)
    assert trained(tmp_path, **settings) == trained(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("rank", 3), ("alpha", 3), ("dropout", 0.5), ("targets", ["q_proj"])])
def test_adapter_settings_change_the_training_of_adapters_only(tmp_path, name, value):
    assert set(Lora.model_fields) == {"rank", "alpha", "dropout", "targets"}
    settings = {"lora": {name: value}}
    assert trained(tmp_path, adaptation="lora", **settings) != trained(tmp_path, adaptation="lora")
    assert trained(tmp_path, adaptation="full", **settings) == trained(tmp_path, adaptation="full")


@pytest.mark.parametrize(
    ("path", "value", "changes"),
    [
        ("evaluation.rows", 41, {"generate", "score"}),
        ("evaluation.rows_seed", 1, {"generate", "score"}),
        ("evaluation.temperature", 0.5, {"generate", "score"}),
        ("evaluation.max_new_tokens", 7, {"generate", "score"}),
        ("recipe.rows", 95, {"train", "generate", "score"}),
        ("recipe.rows_seed", 1, {"train", "generate", "score"}),
        ("seeds", [1], {"train", "generate", "score"}),
        ("formats.chat.system", "Hm.", {"train", "generate", "score"}),
        ("formats.chat.kwargs", {"enable_thinking": False}, {"train", "generate", "score"}),
        ("formats.chat.few_shots", {"k": 2}, {"train", "generate", "score"}),
        ("question", "Why?", set()),
        ("alpha", 0.01, set()),
        ("evaluation.at_least", {"numeric": 0.5}, set()),
        ("data.leaks", "report", set()),
    ],
)
def test_a_setting_changes_what_it_can_change_and_nothing_else(tmp_path, path, value, changes):
    before, after = compiled(tmp_path), compiled(tmp_path, put(STUDY, path, value))
    cell = "sft_chat/chat"
    pairs = {
        "train": (before.train["sft_chat"], after.train["sft_chat"]),
        "score": (before.scores[cell], after.scores[cell]),
        "generate": (before.scores[cell].inputs["outputs"], after.scores[cell].inputs["outputs"]),
    }
    assert {kind for kind, (one, other) in pairs.items() if one.fingerprint != other.fingerprint} == changes


def reserved(rows):
    """What chose the worked examples that prepared rows are kept apart from."""
    found = [step.settings["shots"] for name, step in rows.inputs.items() if name.startswith("reserved_")]
    return sorted(found, key=lambda shots: shots["seed"])


def test_worked_examples_are_kept_out_of_every_variants_training_rows(tmp_path):
    raw = put(put(STUDY, "formats.chat.few_shots", {"k": 2, "seed": 5}), "formats.raw.few_shots", {"k": 3})
    for step in compiled(tmp_path, raw).train.values():
        assert reserved(step.inputs["rows"]) == [{"seed": 0, "k": 3}, {"seed": 5, "k": 2}]


def test_worked_examples_of_every_point_of_a_sweep_are_kept_out_too(tmp_path):
    found = compiled(tmp_path, put(STUDY, "sweep", {"formats.chat.few_shots.k": [0, 4]}))
    for step in found.train.values():
        assert {"seed": 0, "k": 4} in reserved(step.inputs["rows"])


def test_worked_examples_are_kept_out_of_the_scored_rows_of_the_same_split(tmp_path):
    raw = put(put(STUDY, "formats.chat.few_shots", {"k": 2}), "evaluate.chat.split", "train")
    scores = compiled(tmp_path, raw).scores
    assert reserved(scores["base/chat"].inputs["rows"]) == [{"seed": 0, "k": 2}]
    assert reserved(scores["base/raw"].inputs["rows"]) == []


def test_a_few_shot_prompt_is_declared_as_an_input(tmp_path):
    found = compiled(tmp_path, put(STUDY, "formats.chat.few_shots", {"k": 2}))
    outputs = found.scores["base/chat"].inputs["outputs"]
    assert outputs.inputs["shots"].settings["shots"] == {"k": 2, "seed": 0}
    assert outputs.inputs["shots"].settings["split"] == "train"
    assert "shots" not in found.scores["base/raw"].inputs["outputs"].inputs


def test_a_leak_check_comes_before_every_training(tmp_path):
    found = compiled(tmp_path)
    for variant, step in found.train.items():
        [check] = step.after
        assert check.inputs["seen_0"].fingerprint == step.inputs["rows"].fingerprint
        rows = {found.scores[c.name].inputs["rows"].fingerprint for c in found.cells if c.variant.name == variant}
        assert {s.fingerprint for name, s in check.inputs.items() if name != "seen_0"} == rows


def test_dropping_leaks_makes_the_training_rows_depend_on_the_evaluation(tmp_path):
    found = compiled(tmp_path, put(STUDY, "data", {"leaks": "drop"}))
    rows = found.train["sft_raw"].inputs["rows"]
    assert {s.settings["split"] for s in rows.inputs.values()} == {"test"}


def names(points):
    return [cell.name for cell in cells(points)]


def test_every_variant_meets_every_evaluation_in_the_files_order(tmp_path):
    expected = ["base/chat", "base/raw", "sft_chat/chat", "sft_chat/raw", "sft_raw/chat", "sft_raw/raw"]
    found = cells(opened(tmp_path))
    assert [cell.name for cell in found] == expected
    assert [cell.matched for cell in found] == [None, None, True, False, False, True]
    assert [cell.baseline and cell.baseline.name for cell in found] == [None, None, *["base"] * 4]


def test_an_undeclared_mismatch_is_refused_a_declared_one_skipped_or_allowed(tmp_path):
    with pytest.raises(StudyError, match=r"sft_chat was trained under another format than evaluate\.raw uses"):
        cells(opened(tmp_path, changed(mismatch=None)))
    skipped = names(opened(tmp_path, changed(mismatch="skip")))
    assert skipped == ["base/chat", "base/raw", "sft_chat/chat", "sft_raw/raw"]
    assert len(names(opened(tmp_path, changed(mismatch="allow")))) == 6


def test_formats_match_by_what_they_render_and_not_by_name_or_worked_examples(tmp_path):
    formats = STUDY["formats"] | {
        "chat4": {"template": "chat", "few_shots": {"k": 4}},
        "sys": {"template": "chat", "system": "x"},
    }
    evaluate = {"shots": {"format": "chat4"}, "sys": {"format": "sys"}}
    found = cells(
        opened(tmp_path, changed(formats=formats, evaluate=evaluate, train={"a": {"format": "chat", "loss": "all"}}))
    )
    assert {c.evaluation.name: c.matched for c in found if c.variant.train} == {"shots": True, "sys": False}


def test_each_seed_is_a_variant_with_the_baseline_of_its_seed(tmp_path):
    found = cells(opened(tmp_path, changed(seeds=[3, 4], baseline="sft_raw", evaluate={"raw": {"format": "raw"}})))
    assert {c.variant.name: c.variant.seed for c in found if c.variant.train} == {
        "sft_chat#3": 3,
        "sft_chat#4": 4,
        "sft_raw#3": 3,
        "sft_raw#4": 4,
    }
    compared = {c.variant.name: c.baseline.name for c in found if c.baseline}
    assert compared == {"base": "sft_raw#3", "sft_chat#3": "sft_raw#3", "sft_chat#4": "sft_raw#4"}


def test_a_variant_of_another_model_is_compared_with_that_models_base(tmp_path):
    train = {"own": {"format": "raw", "loss": "all"}, "other": {"format": "raw", "loss": "all", "model": "a/b"}}
    found = cells(opened(tmp_path, changed(train=train)))
    assert {c.variant.name: c.baseline.name for c in found if c.variant.train} == {"own": "base", "other": "base_b"}


def test_two_variants_of_one_name_are_refused_and_not_merged(tmp_path):
    train = {name: {"format": "raw", "loss": "all", "model": f"{name}/same"} for name in ("a", "b")}
    with pytest.raises(StudyError, match="two variants have the name 'base_same'"):
        cells(opened(tmp_path, changed(train=train)))


@pytest.mark.parametrize(
    ("train", "evaluate", "told"),
    [
        (("lr/1", "lr-1"), ("chat",), "variants 'lr/1' and 'lr-1' would both be 'lr-1' under results"),
        (("one",), ("a/b", "a-b"), "evaluations 'a/b' and 'a-b' would both be 'a-b'"),
        (("one", "one_eval_x"), ("x_eval_y", "y"), "cells 'one/x_eval_y' and 'one_eval_x/y' would both be"),
    ],
)
def test_names_that_would_be_one_file_are_refused(tmp_path, train, evaluate, told):
    raw = changed(
        train={name: {"format": "chat", "loss": "all"} for name in train},
        evaluate={name: {"format": "chat"} for name in evaluate},
    )
    with pytest.raises(StudyError, match=re.escape(told)):
        cells(opened(tmp_path, raw))


def test_a_sweep_names_what_differs_and_keeps_what_is_equal_once(tmp_path):
    found = names(opened(tmp_path, put(STUDY, "sweep", {"train.sft_raw.lr": [0.1, 0.2]})))
    assert found == [
        "base/chat",
        "base/raw",
        "sft_chat/chat",
        "sft_chat/raw",
        "sft_raw@lr=0.1/chat",
        "sft_raw@lr=0.1/raw",
        "sft_raw@lr=0.2/chat",
        "sft_raw@lr=0.2/raw",
    ]


def test_a_sweep_over_models_compares_each_variant_with_its_own_base(tmp_path):
    found = cells(opened(tmp_path, put(STUDY, "sweep", {"model": ["tiny", "a/b"]})))
    assert {c.variant.name: c.baseline.name for c in found if c.baseline} == {
        f"{name}@model={model}": f"base@model={model}" for name in ("sft_chat", "sft_raw") for model in ("tiny", "a/b")
    }


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("data.leaks", ["drop", "report"]),
        ("alpha", [0.05, 0.1]),
        ("hardware.micro_batch_size", [1, 2]),
        ("baseline", ["base", "sft_raw"]),
    ],
)
def test_a_sweep_over_what_a_study_has_once_is_refused(tmp_path, field, values):
    with pytest.raises(StudyError, match=f"sweep: {field.partition('.')[0]} differs at"):
        compiled(tmp_path, put(STUDY, "sweep", {field: values}))


@pytest.mark.parametrize(("metric", "answer"), [("numerik", "; did you mean 'numeric'?"), ("bleu", "; known: numeric")])
def test_a_threshold_on_an_unknown_metric_is_refused_with_the_names_that_there_are(tmp_path, metric, answer):
    with pytest.raises(StudyError) as refused:
        compiled(tmp_path, put(STUDY, "evaluate.raw.at_least", {metric: 0.5}))
    assert str(refused.value) == f"evaluate.raw.at_least: unknown metric {metric!r}{answer}"


def test_smoke_is_the_same_study_at_the_size_of_a_minute(tmp_path):
    raw = put(
        put(changed(model="Qwen/Qwen3-4B"), "train.sft_raw.model", "other/model"), "evaluate.raw.max_new_tokens", 9
    )
    study = only(tmp_path, raw)
    small = smoke(study)
    assert (small.study, small.smoke) == ("templates-smoke", True)
    assert small.stand_ins == {"Qwen/Qwen3-4B": "tiny", "other/model": "tiny"}
    assert all(t.max_steps <= 12 and t.rows <= 96 for t in small.train.values())
    assert [e.rows for e in small.evaluate.values()] == [32, 32]
    assert [e.max_new_tokens for e in small.evaluate.values()] == [64, 9]
    assert [(t.format, t.loss, t.lr) for t in small.train.values()] == [
        (t.format, t.loss, t.lr) for t in study.train.values()
    ]
    assert (small.formats, small.mismatch, small.seeds) == (study.formats, study.mismatch, study.seeds)


@pytest.mark.parametrize("method", ["grpo", "dpo"])
def test_smoke_cuts_the_budget_of_completions_that_training_draws(tmp_path, method):
    budgets = {"none": None, "large": 512, "small": 9}
    train = {n: {"format": "raw", "method": method, method: {"max_new_tokens": b}} for n, b in budgets.items()}
    small = smoke(only(tmp_path, changed(train=train)))
    assert [getattr(t, method).max_new_tokens for t in small.train.values()] == [64, 64, 9]


def rewarded(buffer, length):
    grpo = {"max_new_tokens": 100, "rewards": {"length": length, "length_buffer": buffer}}
    return changed(train={"grpo": {"format": "raw", "method": "grpo", "grpo": grpo}})


def test_a_length_penalty_longer_than_the_budget_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(StudyError) as refused:
        compiled(tmp_path, rewarded(buffer=101, length=0.1))
    assert str(refused.value) == (
        "grpo.rewards.length_buffer: got 101 tokens, expected at most the budget of 100; "
        "lower it or raise grpo.max_new_tokens"
    )
    for buffer, length in ((100, 0.1), (101, 0)):
        assert compiled(tmp_path, rewarded(buffer, length)).train["grpo"].blocked is None


def test_smoke_cuts_a_length_penalty_to_its_budget(tmp_path):
    small = [smoke(only(tmp_path, rewarded(buffer, 0.1))) for buffer in (100, 16, None)]
    assert [study.train["grpo"].grpo.rewards.length_buffer for study in small] == [64, 16, None]


def test_smoke_puts_adapters_where_the_bundled_model_has_a_place_for_them(tmp_path):
    lora = {"rank": 4, "targets": ["c_attn"]}
    train = {"sft": {"format": "raw", "loss": "all", "adaptation": "lora", "lora": lora, "max_length": 9000}}
    [entry] = smoke(only(tmp_path, changed(train=train))).train.values()
    assert (entry.lora.targets, entry.lora.rank, entry.max_length) == ("all-linear", 4, 4096)


def test_smoke_needs_no_data_but_the_rows_that_tasks_ship(tmp_path):
    [(label, study)] = opened(tmp_path, changed(task="gsm8k", model="Qwen/Qwen3-4B"))
    found = compile_study([(label, smoke(study))], tmp_path)
    assert found.scores["base/raw"].inputs["rows"].settings["source"]["builtin"] == "gsm8k"
    assert all(step.blocked is None for step in found.train.values())


def test_a_model_or_data_set_that_is_not_there_blocks_its_steps_and_no_others(tmp_path):
    found = compiled(tmp_path, put(STUDY, "train.sft_raw.model", "./gone"))
    assert "gone has no config.json" in found.train["sft_raw"].blocked
    assert found.train["sft_chat"].blocked is None
    files = compiled(tmp_path, changed(task="gsm8k", data={"files": {"test": "gone.jsonl"}}))
    assert "gone.jsonl is not a file" in files.scores["base/raw"].inputs["rows"].blocked


def test_a_plan_is_plain_json_and_names_no_place(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"question": "1 + 1?", "answer": "#### 2"}\n')
    data = {"files": {"train": "rows.jsonl", "test": "rows.jsonl"}}
    found = compiled(tmp_path, changed(task="gsm8k", data=data))
    for step in (*found.train.values(), *found.scores.values(), found.train["sft_raw"].inputs["rows"]):
        assert str(tmp_path) not in json.dumps(step.identity)


@pytest.mark.parametrize("evaluation", [{"temperature": 1.0}, {"precision": "bf16"}])
def test_what_answers_counts_where_sampling_or_rounding_make_it_count(tmp_path, evaluation):
    outputs = []
    for engine in ("auto", "plain"):
        hardware = {"device": "cpu", "generation": engine}
        found = compiled(tmp_path, changed(evaluation=evaluation, hardware=hardware))
        steps = [score.inputs["outputs"] for score in found.scores.values()]
        assert {step.settings["generation"] for step in steps} == {engine}
        assert {step.settings.get("draws") for step in steps} == ({2} if "temperature" in evaluation else {None})
        outputs.append({step.fingerprint for step in steps})
    assert not outputs[0] & outputs[1]


@pytest.mark.parametrize("evaluation", [{"temperature": 1.0}, {"precision": "bf16"}])
def test_the_generation_batch_counts_where_sampling_or_rounding_make_it_count(tmp_path, evaluation):
    small, large = (
        compiled(tmp_path, changed(evaluation=evaluation, hardware={"device": "cpu", "generation_batch_size": size}))
        for size in (3, 4)
    )
    outputs = [{s.inputs["outputs"].fingerprint for s in found.scores.values()} for found in (small, large)]
    assert not outputs[0] & outputs[1]


@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        ({"adaptation": "lora", "lora": {"dropout": 0.1}}, True),
        ({"adaptation": "lora", "lora": {"dropout": 0.0}}, False),
        ({"precision": "bf16"}, True),
        ({"precision": "fp32"}, False),
        ({"method": "grpo", "grpo": {"loss_type": "bnpo"}}, True),
        ({"method": "grpo", "grpo": {"loss_type": "dapo"}}, False),
        ({"method": "sft", "grpo": {"loss_type": "bnpo"}}, False),
    ],
)
def test_the_micro_batch_counts_under_dropout_and_where_it_normalises(tmp_path, settings, counts):
    entry = {"format": "chat", "loss": "all", **settings}
    small, large = (
        compiled(tmp_path, changed(train={"one": entry}, hardware={"device": "cpu", "micro_batch_size": size}))
        for size in (1, 2)
    )
    assert (small.train["one"].fingerprint != large.train["one"].fingerprint) is counts


@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        ({"adaptation": "lora", "lora": {"dropout": 0.1}}, True),
        ({"precision": "bf16"}, True),
        ({}, False),
        ({"precision": "bf16", "method": "dpo"}, False),
        ({"precision": "bf16", "method": "grpo"}, True),
        ({"precision": "bf16", "method": "grpo", "grpo": {"beta": 0.1}}, False),
        ({"method": "grpo", "grpo": {"loss_type": "bnpo"}}, False),
    ],
)
def test_packing_counts_where_it_is_done_and_dropout_or_rounding_make_it_count(tmp_path, settings, counts):
    entry = {"format": "chat", "loss": "all", **settings}
    packed, padded = (
        compiled(tmp_path, changed(train={"one": entry}, hardware={"device": "cpu", "packing": packing}))
        for packing in ("auto", "off")
    )
    assert (packed.train["one"].fingerprint != padded.train["one"].fingerprint) is counts
    assert "packing" not in padded.train["one"].settings


@pytest.mark.parametrize("settings", [{"precision": "bf16"}, {"adaptation": "lora", "lora": {"dropout": 0.1}}])
@pytest.mark.parametrize(("method", "packing"), [("sft", "auto"), ("grpo", "by prompt")])
def test_an_identity_says_how_rows_are_dealt_to_passes(tmp_path, settings, method, packing):
    entry = {"format": "chat", "method": method, "loss": "all", **settings}
    found = compiled(tmp_path, changed(train={"one": entry}, hardware={"device": "cpu"}))
    assert found.train["one"].settings["packing"] == packing


@pytest.mark.parametrize(
    ("device", "why"),
    [
        ("cpu", "vllm needs device cuda and this study runs on cpu; use local"),
        ("cuda", "vllm is not installed; pip install 'tunelab[vllm]', or use local"),
    ],
)
def test_vllm_is_refused_in_planning_where_it_cannot_run(tmp_path, monkeypatch, device, why):
    monkeypatch.setattr(devices, "detect", lambda: device)
    monkeypatch.setitem(sys.modules, "vllm", None)
    wanted = {"device": device, "rollouts": "vllm"}
    entry = {"format": "chat", "method": "grpo"}
    with pytest.raises(StudyError) as raised:
        compiled(tmp_path, changed(train={"one": entry}, hardware=wanted))
    assert str(raised.value) == f"hardware.rollouts: got 'vllm', but {why}"
    assert compiled(tmp_path, changed(hardware=wanted)).train
    assert compile_study([("", smoke(only(tmp_path, changed(train={"one": entry}, hardware=wanted))))], tmp_path).train


def test_what_draws_the_completions_is_identity_of_grpo_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "detect", lambda: "cuda")
    installed = ModuleType("vllm")
    installed.__spec__ = ModuleSpec("vllm", None)
    monkeypatch.setitem(sys.modules, "vllm", installed)
    for method, differs in (("grpo", True), ("sft", False)):
        entry = {"format": "chat", "method": method, "loss": "all"}
        local, vllm = (
            compiled(tmp_path, changed(train={"one": entry}, hardware={"device": "cuda", "rollouts": rollouts}))
            for rollouts in ("local", "vllm")
        )
        assert (local.train["one"].fingerprint != vllm.train["one"].fingerprint) is differs
        engine, plain = (
            compiled(tmp_path, changed(train={"one": entry}, hardware={"generation": generation}))
            for generation in ("engine", "plain")
        )
        assert (engine.train["one"].fingerprint != plain.train["one"].fingerprint) is differs


@pytest.mark.parametrize(
    ("device", "asked", "found"),
    [
        ("cpu", "auto", "auto"),
        ("cuda", "auto", "auto"),
        ("cuda", "plain", "plain"),
        ("mps", "auto", "plain"),
        ("mps", "engine", "auto"),
    ],
)
def test_the_engine_answers_by_itself_where_it_was_measured(tmp_path, monkeypatch, device, asked, found):
    monkeypatch.setattr(devices, "detect", lambda: device)
    study = compiled(tmp_path, changed(hardware={"generation": asked}))
    [hardware, *_] = [s.circumstance["hardware"] for s in study.train.values()]
    assert (hardware["device"], hardware["generation"]) == (device, found)


def test_every_reward_setting_counts_and_a_buffer_only_with_its_penalty(tmp_path):
    def rewarded(**rewards):
        return trained(tmp_path, method="grpo", grpo={"rewards": rewards})

    weighed = [rewarded(), rewarded(task=2), rewarded(format=0.2), rewarded(length=0.2)]
    buffered = rewarded(length=0.2, length_buffer=5)
    assert len({*weighed, buffered}) == 5
    assert rewarded(task=1.0, format=0, length_buffer=5) == rewarded()


def test_a_new_scorer_neither_trains_nor_generates_anew(tmp_path):
    task = ECHO_TASK
    (tmp_path / "echo.py").write_text(task)
    raw = changed(task="./echo.py:Echo")
    before = {(s.kind, s.fingerprint) for s in topological([compiled(tmp_path, raw).report])}
    (tmp_path / "echo.py").write_text(task.replace("output == sample", "output.strip() == sample"))
    after = {(s.kind, s.fingerprint) for s in topological([compiled(tmp_path, raw).report])}
    assert {kind for kind, _ in after - before} == {"score", "compare", "report"}


def test_a_new_scorer_is_a_new_reward(tmp_path):
    (tmp_path / "echo.py").write_text(ECHO_TASK)
    raw = put(changed(task="./echo.py:Echo"), "train.sft_chat.method", "grpo")
    before = compiled(tmp_path, raw).train
    (tmp_path / "echo.py").write_text(ECHO_TASK.replace("output == sample", "output.strip() == sample"))
    after = compiled(tmp_path, raw).train
    assert before["sft_chat"].fingerprint != after["sft_chat"].fingerprint
    assert before["sft_raw"].fingerprint == after["sft_raw"].fingerprint


def test_stand_ins_of_every_point_of_a_sweep_stand_in(tmp_path):
    points = opened(tmp_path, changed(sweep={"model": ["a/b", "c/d"]}))
    found = compile_study([(label, smoke(point)) for label, point in points], tmp_path)
    assert found.study.stand_ins == {"a/b": "tiny", "c/d": "tiny"}
    assert not [step.blocked for step in topological([found.report]) if step.blocked]


def test_leaks_are_looked_for_before_anything_answers(tmp_path):
    order = [step.kind for step in topological([compiled(tmp_path).report])]
    assert max(i for i, kind in enumerate(order) if kind == "check") < order.index("generate") < order.index("train")


def test_a_further_model_that_no_evaluation_is_of_is_named(tmp_path):
    of = {"chat": {"format": "chat", "of": ["sft_chat"]}}
    assert (
        compiled(tmp_path, changed(models={"small": "tiny"}, evaluate=of)).left_out["small"] == "no evaluation is of it"
    )


def test_a_stand_in_is_paid_for_by_nobody(tmp_path):
    large = {"endpoint": "http://127.0.0.1:9/v1", "name": "big", "price": {"input": 1.0, "output": 2.0}}
    points = opened(tmp_path, changed(models={"large": large}))
    for found, paid in ((points, True), ([(label, smoke(point)) for label, point in points], False)):
        cells = compile_study(found, tmp_path).compare.settings["cells"]
        assert any("price" in cell for cell in cells) is paid


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("gpu", "got 'gpu', expected auto, cpu, mps, cuda, or cuda:1"),
        ("cuda:x", "expected auto, cpu, mps, cuda, or cuda:1"),
    ],
)
def test_a_device_that_is_none_is_refused(tmp_path, device, expected):
    with pytest.raises(StudyError, match=expected):
        opened(tmp_path, changed(hardware={"device": device}))


@pytest.mark.skipif(devices.detect() != "cpu", reason="there is a GPU here")
def test_a_device_that_is_not_there_is_refused_by_what_was_asked(tmp_path):
    with pytest.raises(StudyError, match=r"hardware\.device: got 'cuda', but this machine has 'cpu'; use auto"):
        compiled(tmp_path, changed(hardware={"device": "cuda"}))
