"""Crossed designs: method effects, interaction points, effects by set of samples; against sums by hand."""

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from study_files import changed, opened

from tunelab.scoring.aggregate import summarise
from tunelab.scoring.score import Metric, judged
from tunelab.study.cells import cells, describe_cell
from tunelab.study.comparison import compare
from tunelab.study.read import read_study
from tunelab.study.scored import Scored

METHODS = {
    "sft_chat": {"format": "chat", "loss": "all"},
    "sft_chat_mask": {"format": "chat", "loss": "completion"},
    "sft_raw": {"format": "raw", "loss": "completion"},
    "grpo_chat": {"format": "chat", "method": "grpo", "lr": 1e-5, "max_steps": 30},
    "grpo_raw": {"format": "raw", "method": "grpo", "lr": 1e-5, "max_steps": 30},
    "dpo_chat": {"format": "chat", "method": "dpo", "rows": 50},
}
METRICS = {"right": Metric("m"), "graded": Metric("m", binary=False)}


def described(folder, **fields):
    return [describe_cell(cell) for cell in cells(opened(folder, changed(**fields)))]


def scored(cell, values, kind="graded", ids=None):
    names = ids or [f"q{i}" for i in range(len(values))]
    scores = {name: [judged(v == 1, "4", {"m": float(v)})] for name, v in zip(names, values, strict=True)}
    return Scored(cell, scores, summarise(scores, [METRICS[kind]]), "v1")


def crossed(described_cells, kind="graded", n=40):
    """The comparison of random scores, and the scores by variant and evaluation."""
    rng = np.random.default_rng(3)
    values = {c["cell"]: rng.random(n).round(0 if kind == "right" else 9) for c in described_cells}
    found = {c["cell"]: scored(c, values[c["cell"]], kind) for c in described_cells}
    return compare(found, 0.05), values


def effects(result):
    return {row["effect"]: row for row in result["effects"]}


def test_the_bundled_study_shows_every_factor_with_one_correction_over_all():
    points = read_study("chat-template", [])
    result, _ = crossed([describe_cell(cell) for cell in cells(points)])
    assert [row["effect"] for row in result["effects"]] == [
        "method: grpo - sft",
        "method: dpo - sft",
        "method: dpo - grpo",
        "loss: completion - all",
        "training format: chat - raw",
        "evaluation format: chat - raw",
        "formats: matched - mismatched",
    ]
    expected = multipletests([row["p_value"] for row in result["effects"]], method="holm")[1]
    assert [row["p_adjusted"] for row in result["effects"]] == pytest.approx(list(expected))
    assert [row["cells"] for row in result["effects"]] == [12, 12, 8, 8, 16, 16, 16]


def test_a_method_is_its_own_recipe_and_several_recipes_are_averaged(tmp_path):
    result, values = crossed(described(tmp_path, train=METHODS))
    sft = {f"chat/{e}": (values[f"sft_chat/{e}"] + values[f"sft_chat_mask/{e}"]) / 2 for e in ("chat", "raw")} | {
        f"raw/{e}": values[f"sft_raw/{e}"] for e in ("chat", "raw")
    }
    difference = np.mean([values[f"grpo_{place}"] - value for place, value in sft.items()], axis=0)
    row, expected = effects(result)["method: grpo - sft"], ttest_1samp(difference, 0)
    assert (row["value"], row["p_value"]) == pytest.approx((difference.mean(), expected.pvalue))
    assert (row["low"], row["high"]) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert row["levels"] == ["grpo", "sft"]
    assert row["meaning"].endswith("and its own recipe; sft is the mean of its 1 to 2 recipes")


def test_methods_are_compared_only_where_both_were_trained(tmp_path):
    result, values = crossed(described(tmp_path, train=METHODS))
    pairs = [values[f"dpo_chat/{e}"] - values[f"grpo_chat/{e}"] for e in ("chat", "raw")]
    row = effects(result)["method: dpo - grpo"]
    assert (row["value"], row["cells"]) == (pytest.approx(np.mean(pairs)), 4)


@pytest.mark.parametrize("other", [{"adaptation": "lora"}, {"task": "gsm8k"}, {"format": "raw"}])
def test_methods_that_differ_in_more_than_their_recipes_show_no_effect(tmp_path, other):
    train = {"sft": {"format": "chat", "loss": "all"}, "grpo": {"format": "chat", "method": "grpo", **other}}
    assert not [name for name in effects(crossed(described(tmp_path, train=train))[0]) if name.startswith("method")]


def test_a_loss_that_a_method_does_not_read_is_no_factor_of_it(tmp_path):
    train = {f"grpo_{loss}": {"format": "chat", "method": "grpo", "loss": loss} for loss in ("all", "completion")}
    assert "loss: completion - all" not in effects(crossed(described(tmp_path, train=train))[0])


def test_methods_are_paired_within_their_seed(tmp_path):
    train = {k: METHODS[k] for k in ("sft_chat", "grpo_chat")}
    result, values = crossed(described(tmp_path, train=train, seeds=[0, 1], evaluate={"chat": {"format": "chat"}}))
    pairs = [values[f"grpo_chat#{s}/chat"] - values[f"sft_chat#{s}/chat"] for s in (0, 1)]
    row = effects(result)["method: grpo - sft"]
    assert row["value"] == pytest.approx(np.mean(pairs))
    assert "the mean of" not in row["meaning"]


def test_evaluations_on_different_rows_have_effects_of_their_own(tmp_path):
    evaluate = {name: {"format": "chat", "rows_seed": i} for i, name in enumerate(("first", "second"))}
    train = {"all": {"format": "chat", "loss": "all"}, "completion": {"format": "chat", "loss": "completion"}}
    rng, found, values = np.random.default_rng(5), {}, {}
    for cell in described(tmp_path, train=train, evaluate=evaluate):
        n = 20 if cell["evaluation"] == "first" else 30
        values[cell["cell"]] = rng.random(n)
        ids = [f"{cell['evaluation']}{i}" for i in range(n)]
        found[cell["cell"]] = scored(cell, values[cell["cell"]], ids=ids)
    rows = compare(found, 0.05)["effects"]
    assert [(row["effect"], row["evaluations"], row["n"]) for row in rows] == [
        ("loss: completion - all", ["first"], 20),
        ("loss: completion - all", ["second"], 30),
    ]
    for row, name in zip(rows, ("first", "second"), strict=True):
        assert row["value"] == pytest.approx(np.mean(values[f"completion/{name}"] - values[f"all/{name}"]))
    expected = multipletests([row["p_value"] for row in rows], method="holm")[1]
    assert [row["p_adjusted"] for row in rows] == pytest.approx(list(expected))


def test_points_of_the_interaction_are_means_with_intervals_for_each_method(tmp_path):
    result, values = crossed(described(tmp_path, train=METHODS | {"sft_raw_all": {"format": "raw", "loss": "all"}}))
    points = {(p["method"], p["train_format"], p["eval_format"]): p for p in result["interactions"]}
    assert list(points) == [(m, a, b) for m in ("sft", "grpo") for a in ("raw", "chat") for b in ("raw", "chat")]
    mean = (values["sft_chat/raw"] + values["sft_chat_mask/raw"]) / 2
    half = t.ppf(0.975, 39) * mean.std(ddof=1) / np.sqrt(40)
    point = points["sft", "chat", "raw"]
    assert (point["value"], point["low"], point["high"]) == pytest.approx(
        (mean.mean(), mean.mean() - half, mean.mean() + half)
    )
    assert point["cells"] == ["sft_chat/raw", "sft_chat_mask/raw"]


def test_points_give_matched_minus_mismatched(tmp_path):
    result, _ = crossed(described(tmp_path, train={k: METHODS[k] for k in ("grpo_chat", "grpo_raw")}))
    value = {(p["train_format"], p["eval_format"]): p["value"] for p in result["interactions"]}
    matched = (value["raw", "raw"] + value["chat", "chat"] - value["raw", "chat"] - value["chat", "raw"]) / 2
    assert effects(result)["formats: matched - mismatched"]["value"] == pytest.approx(matched)


def test_one_cell_of_right_and_wrong_keeps_wilsons_interval(tmp_path):
    train = {k: METHODS[k] for k in ("grpo_chat", "grpo_raw")}
    result, values = crossed(described(tmp_path, train=train), "right")
    point = next(p for p in result["interactions"] if p["cells"] == ["grpo_raw/chat"])
    expected = proportion_confint(values["grpo_raw/chat"].sum(), 40, method="wilson")
    assert (point["low"], point["high"]) == pytest.approx(expected)


@pytest.mark.parametrize("fields", [{"train": {"a": METHODS["sft_chat"]}}, {"evaluate": {"chat": {"format": "chat"}}}])
def test_formats_that_are_not_crossed_have_no_interaction(tmp_path, fields):
    assert crossed(described(tmp_path, **({"train": METHODS} | fields)))[0]["interactions"] == []


def test_the_format_without_a_template_is_the_reference_whatever_its_name(tmp_path):
    formats = {"talk": {"template": "chat"}, "plain": {"template": "raw"}}
    train = {f"sft_{name}": {"format": name, "loss": "all"} for name in formats}
    evaluate = {name: {"format": name} for name in formats}
    result, _ = crossed(described(tmp_path, formats=formats, train=train, evaluate=evaluate))
    assert effects(result)["training format: talk - plain"]["levels"] == ["talk", "plain"]


def test_formats_of_a_sweep_that_share_a_name_are_levels_of_their_own(tmp_path):
    train = {f"sft_{name}": {"format": name, "loss": "all"} for name in ("chat", "raw")}
    study = changed(train=train, sweep={"formats.chat.system": ["Add.", "Be brief."]})
    result, values = crossed([describe_cell(cell) for cell in cells(opened(tmp_path, study))])
    found = effects(result)
    assert set(found) >= {"training format: chat@system=Add. - raw", "evaluation format: chat@system=Be brief. - raw"}
    for label in ("Add.", "Be brief."):
        row = found[f"formats: matched - mismatched (raw and chat@system={label})"]
        at = {
            (a, b): values[f"sft_{a}/{b}"]
            for a in (f"chat@system={label}", "raw")
            for b in (f"chat@system={label}", "raw")
        }
        matched = sum(v if a == b else -v for (a, b), v in at.items()) / 2
        expected = ttest_1samp(matched, 0)
        assert (row["value"], row["p_value"]) == pytest.approx((matched.mean(), expected.pvalue))
        assert row["formats"] == ["raw", f"chat@system={label}"]
    assert len(result["interactions"]) == 7, "three formats without chat of one point under that of the other"
