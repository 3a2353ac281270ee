"""Effects of a crossed design, against designs whose effects were put in and an OLS with coded factors."""

from itertools import product

import numpy as np
import pytest
import statsmodels.api as sm

from tunelab.stats import contrast, interaction, main_effects


def crossed(**levels):
    return [dict(zip(levels, combination, strict=True)) for combination in product(*levels.values())]


FORMATS = crossed(train=["chat", "raw"], eval=["raw", "chat"], method=["full", "lora"])


def effect(cells, weights, score):
    return float(weights @ np.array([score(cell) for cell in cells]))


def test_main_effect_recovers_what_was_put_in_and_nothing_of_the_others():
    (name, weights), *rest = main_effects(FORMATS, "train").items()
    assert (name, rest) == ("raw - chat", [])
    assert effect(FORMATS, weights, lambda c: 0.3 * (c["train"] == "raw")) == pytest.approx(0.3)
    assert effect(FORMATS, weights, lambda c: 0.3 * (c["eval"] == "raw")) == pytest.approx(0)
    assert effect(FORMATS, weights, lambda c: 0.3 * (c["train"] == c["eval"])) == pytest.approx(0)


def test_reference_turns_the_main_effect():
    weights = main_effects(FORMATS, "train", reference="raw")
    assert list(weights) == ["chat - raw"]
    assert weights["chat - raw"] == pytest.approx(-main_effects(FORMATS, "train")["raw - chat"])


def test_levels_are_each_compared_with_a_declared_reference():
    cells = crossed(method=["sft", "dpo", "grpo"], eval=["chat", "raw"])
    scores = {"sft": 0.5, "dpo": 0.6, "grpo": 0.8}
    found = {
        k: effect(cells, w, lambda c: scores[c["method"]]) for k, w in main_effects(cells, "method", "sft").items()
    }
    assert found == pytest.approx({"dpo - sft": 0.1, "grpo - sft": 0.3})


def test_levels_without_reference_are_compared_with_the_mean_of_the_others():
    cells = crossed(method=["sft", "dpo", "grpo"], eval=["chat", "raw"])
    scores = {"sft": 0.5, "dpo": 0.6, "grpo": 0.8}
    found = {k: effect(cells, w, lambda c: scores[c["method"]]) for k, w in main_effects(cells, "method").items()}
    assert found == pytest.approx({"sft - others": -0.2, "dpo - others": -0.05, "grpo - others": 0.25})


def test_interaction_is_matched_minus_mismatched_by_the_name_of_the_level():
    weights = interaction(FORMATS, "train", "eval")
    assert effect(FORMATS, weights, lambda c: 0.2 * (c["train"] == c["eval"])) == pytest.approx(0.2)
    assert effect(FORMATS, weights, lambda c: (c["train"] == "raw") + 2 * (c["eval"] == "raw")) == pytest.approx(0)


def test_interaction_of_three_formats_is_free_of_main_effects():
    cells = crossed(train=["chat", "raw", "few"], eval=["few", "chat", "raw"])
    weights, ease = interaction(cells, "train", "eval"), {"chat": 0.1, "raw": 0.4, "few": 0.3}
    assert effect(cells, weights, lambda c: ease[c["train"]] + 2 * ease[c["eval"]]) == pytest.approx(0)
    assert effect(cells, weights, lambda c: float(c["train"] == c["eval"])) == pytest.approx(1)


def test_interaction_of_differently_named_levels_is_half_the_difference_of_differences():
    cells = crossed(train=["chat", "raw"], method=["full", "lora"])
    score = dict(zip([("chat", "full"), ("chat", "lora"), ("raw", "full"), ("raw", "lora")], [4, 1, 2, 3], strict=True))
    found = effect(cells, interaction(cells, "train", "method"), lambda c: score[c["train"], c["method"]])
    assert found == pytest.approx(((4 - 1) - (2 - 3)) / 2)


def test_effects_equal_an_ols_with_coded_factors():
    scores = np.random.default_rng(1).uniform(size=(8, 20))
    train, evaluation = (np.array([1 if c[f] == "raw" else -1 for c in FORMATS]) for f in ("train", "eval"))
    design = np.column_stack([np.ones(8), train, evaluation, train * evaluation])
    slopes = 2 * sm.OLS(scores.mean(axis=1), design).fit().params
    main = contrast(scores, main_effects(FORMATS, "train")["raw - chat"])
    matched = contrast(scores, interaction(FORMATS, "train", "eval"))
    assert (main.value, matched.value) == pytest.approx((slopes[1], slopes[3]))


def test_cells_may_come_in_any_order():
    order = np.random.default_rng(2).permutation(8)
    shuffled = [FORMATS[i] for i in order]
    assert interaction(shuffled, "train", "eval") == pytest.approx(interaction(FORMATS, "train", "eval")[order])
    turned = main_effects(shuffled, "train", "chat")["raw - chat"]
    assert turned == pytest.approx(main_effects(FORMATS, "train", "chat")["raw - chat"][order])


def test_an_unbalanced_design_is_refused_with_the_missing_cell():
    cells = [c for c in FORMATS if c != {"train": "raw", "eval": "chat", "method": "lora"}]
    for weights in (lambda: main_effects(cells, "eval"), lambda: interaction(cells, "train", "eval")):
        with pytest.raises(ValueError, match="got no cell train=raw, eval=chat, method=lora"):
            weights()


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: main_effects([], "train"), "cells: got none"),
        (lambda: main_effects([*FORMATS, FORMATS[0]], "train"), "got 2 cells train=chat, eval=raw, method=full"),
        (lambda: main_effects([*FORMATS, {"train": "raw"}], "train"), "got other factors"),
        (lambda: main_effects(FORMATS, "seed"), "factor: got 'seed', expected one of train, eval, method"),
        (lambda: main_effects(FORMATS, "train", "base"), "reference of train: got 'base'"),
        (lambda: main_effects(crossed(a=["x"], b=["y", "z"]), "a"), "factor a: got the one level 'x'"),
        (lambda: interaction(FORMATS, "train", "train"), "two different factors"),
        (lambda: interaction(crossed(a=["x", "y"], b=["p", "q", "r"]), "a", "b"), "expected the same names"),
    ],
)
def test_designs_and_names_that_do_not_fit_are_refused(call, reason):
    with pytest.raises(ValueError, match=reason):
        call()
