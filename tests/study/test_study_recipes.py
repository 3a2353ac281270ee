"""Recipes over seeds, and a variant drawn twice: synthetic cells against the statistics that they are made of."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests
from study_files import changed, opened

from tunelab.scoring.aggregate import summarise
from tunelab.scoring.score import Metric, Outcome, Score
from tunelab.stats import flip_rate, seed_corpus_difference, seed_difference, seed_mean
from tunelab.study.cells import cells, describe_cell
from tunelab.study.comparison import compare
from tunelab.study.scored import Scored

METRIC = Metric("m")
N = 200


def described(folder, **fields):
    """Cells of a study with three seeds as the plan describes them."""
    study = changed(**({"seeds": [0, 1, 2], "evaluate": {"chat": {"format": "chat"}}} | fields))
    return [describe_cell(cell) for cell in cells(opened(folder, study))]


def trained(*names):
    return {name: {"format": "chat", "loss": "all", "lr": (i + 1) * 1e-4} for i, name in enumerate(names)}


def scored(cell, values, scorer="v1", clusters=None):
    scores = {f"q{i:03d}": [_score(v)] for i, v in enumerate(values)}
    return Scored(cell, scores, summarise(scores, [METRIC]), scorer, clusters or {})


def _score(value):
    return Score(Outcome.UNSCORED) if value is None else Score(Outcome.CORRECT, {"m": float(value)})


def answers(found, seed=0, gain=0.2):
    """Right or wrong by cell: items differ in difficulty, trained variants gain."""
    rng = np.random.default_rng(seed)
    difficulty = rng.uniform(0.1, 0.6, N)
    return {c["cell"]: (rng.random(N) < difficulty + (gain if c["seed"] is not None else 0)).astype(int) for c in found}


def compared(found, values, holes=(), alpha=0.05, **changes):
    made = {c["cell"]: scored(c, values[c["cell"]], **changes) for c in found if c["cell"] in values}
    return compare(made, alpha, holes=holes)


def test_three_seeds_are_compared_as_a_recipe_with_a_fixed_checkpoint(tmp_path):
    found = described(tmp_path, train=trained("sft"))
    values = answers(found)
    [row] = compared(found, values)["recipes"]
    table = np.array([values[f"sft#{s}/chat"] for s in range(3)])
    mean, difference = seed_mean(table, 0), seed_difference(table, values["base/chat"][None], 0)
    assert (row["recipe"], row["evaluation"], row["seeds"], row["n"]) == ("sft", "chat", [0, 1, 2], N)
    assert (row["baseline"], row["baseline_seeds"]) == ("base", 1)
    assert (row["value"], row["low"], row["high"]) == (mean.value, mean.low, mean.high)
    assert (row["difference"], row["p_value"]) == pytest.approx((difference.value, difference.p_value))
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((difference.low, difference.high))
    assert row["between_seed_sd"] == pytest.approx(np.std(table.mean(axis=1), ddof=1))
    assert (row["lowest_seed"], row["highest_seed"]) == (table.mean(axis=1).min(), table.mean(axis=1).max())
    assert row["verdict"] == "better"


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_fewer_than_three_seeds_are_no_recipe(tmp_path, seeds):
    found = described(tmp_path, train=trained("sft"), seeds=seeds)
    assert compared(found, answers(found))["recipes"] == []


def test_a_recipe_is_compared_with_another_recipe_whose_seeds_vary_too(tmp_path):
    found = described(tmp_path, train=trained("old", "new"), baseline="old")
    values = answers(found)
    [old, new] = compared(found, values)["recipes"]
    tables = [np.array([values[f"{name}#{s}/chat"] for s in range(3)]) for name in ("new", "old")]
    expected = seed_difference(*tables, 0)
    assert "difference" not in old
    assert "verdict" not in old
    assert (new["baseline"], new["baseline_seeds"], new["seeds_needed"]) == ("old", 3, None)
    assert (new["difference"], new["p_value"]) == pytest.approx((expected.value, expected.p_value))


def test_holms_correction_runs_over_the_recipes_of_a_task(tmp_path):
    evaluate = {"chat": {"format": "chat"}, "other": {"format": "chat", "task": "gsm8k"}}
    found = described(tmp_path, train=trained("a", "b", "c"), evaluate=evaluate)
    rows = compared(found, answers(found, gain=0.08))["recipes"]
    for task in ("arithmetic", "gsm8k"):
        family = [row for row in rows if row["task"] == task]
        expected = multipletests([row["p_value"] for row in family], method="holm")[1]
        assert len(family) == 3
        assert [row["p_adjusted"] for row in family] == pytest.approx(list(expected))


def test_a_seed_without_a_result_is_left_out_and_counted(tmp_path):
    found = described(tmp_path, train=trained("sft"), seeds=[0, 1, 2, 3])
    values = answers(found)
    lost = values.pop("sft#1/chat") is not None
    holes = [c for c in found if c["cell"] not in values]
    [row] = compared(found, values, holes)["recipes"]
    assert lost
    assert (row["seeds"], row["declared"]) == ([0, 2, 3], 4)


def test_a_recipe_with_too_few_results_says_so(tmp_path):
    found = described(tmp_path, train=trained("sft"))
    values = answers(found)
    del values["sft#1/chat"]
    holes = [c for c in found if c["cell"] not in values]
    [row] = compared(found, values, holes)["recipes"]
    assert row["refused"] == "2 of its 3 seeds have a score, expected at least 3"


def test_a_missing_baseline_leaves_the_mean(tmp_path):
    found = described(tmp_path, train=trained("sft"))
    values = answers(found)
    del values["base/chat"]
    [row] = compared(found, values)["recipes"]
    assert row["refused"] == "base/chat has no result"
    assert row["value"] == pytest.approx(np.mean([values[f"sft#{s}/chat"] for s in range(3)]))
    assert "verdict" not in row


def test_a_baseline_recipe_with_too_few_results_is_no_baseline(tmp_path):
    found = described(tmp_path, train=trained("old", "new"), baseline="old")
    values = answers(found)
    del values["old#1/chat"]
    rows = compared(found, values, [c for c in found if c["cell"] not in values])["recipes"]
    assert [row["refused"] for row in rows] == [
        "2 of its 3 seeds have a score, expected at least 3",
        "its baseline old has 2 seeds with a score, expected at least 3",
    ]


def test_seeds_that_were_scored_differently_are_no_recipe(tmp_path):
    found = described(tmp_path, train=trained("sft"))
    values = answers(found)
    made = {c["cell"]: scored(c, values[c["cell"]], "v2" if c["seed"] == 1 else "v1") for c in found}
    [row] = compare(made, 0.05)["recipes"]
    assert row["refused"] == "the two were scored by different scorers"


def test_items_that_a_seed_could_not_score_are_left_out_of_all(tmp_path):
    found = described(tmp_path, train=trained("sft"))
    values = {name: list(v) for name, v in answers(found).items()}
    values["sft#0/chat"][3] = values["sft#2/chat"][7] = None
    [row] = compared(found, values)["recipes"]
    assert (row["n"], row["left_out"], row["difference_n"]) == (N - 2, 2, N - 2)


def test_items_of_a_cluster_count_as_one_draw(tmp_path):
    found = described(tmp_path, train=trained("sft"))
    values = {name: np.repeat(v[: N // 5], 5) for name, v in answers(found).items()}
    clusters = {f"q{i:03d}": f"passage {i // 5}" for i in range(N)}
    [alone], [grouped] = (compared(found, values, clusters=c)["recipes"] for c in (None, clusters))
    expected = seed_mean([values[f"sft#{s}/chat"] for s in range(3)], 0, clusters=np.arange(N) // 5)
    assert (grouped["low"], grouped["high"]) == pytest.approx((expected.low, expected.high))
    assert grouped["low"] != pytest.approx(alone["low"])


def f1(sums):
    return 2 * sums[0] / (sums[1] + sums[2]) if sums[1] + sums[2] else 0.0


def test_a_corpus_metric_is_compared_over_seeds_as_a_whole(tmp_path):
    metric, found = Metric("f1", binary=False, total=f1), described(tmp_path, train=trained("sft"))
    made, parts = {}, {}
    for i, cell in enumerate(found):
        rng = np.random.default_rng(i)
        golds = rng.integers(1, 5, size=60)
        rate = 0.7 if cell["seed"] is not None else 0.4
        rows = np.stack([rng.binomial(golds, rate), np.full(60, 4), golds], axis=1)
        scores = {
            f"q{j:03d}": [Score(Outcome.WRONG, {"f1": f1(r)}, parts={"f1": tuple(map(float, r))})]
            for j, r in enumerate(rows)
        }
        made[cell["cell"]] = Scored(cell, scores, summarise(scores, [metric]), "v1", {}, metric)
        parts[cell["cell"]] = rows.astype(float)
    [row] = compare(made, 0.05)["recipes"]
    seeds, base = np.array([parts[f"sft#{s}/chat"] for s in range(3)]), parts["base/chat"][None]
    expected = seed_corpus_difference(seeds, base, f1)
    assert row["difference"] == pytest.approx(np.mean([f1(s.sum(axis=0)) for s in seeds]) - f1(base[0].sum(axis=0)))
    assert (row["difference_low"], row["p_value"]) == pytest.approx((expected.low, expected.p_value))
    assert (row["metric"], row["verdict"]) == ("f1", "better")


def test_seeds_that_would_show_what_was_observed_are_named(tmp_path):
    found = described(tmp_path, train=trained("sft"))
    values = {c["cell"]: np.arange(N) % 2 for c in found}
    for seed, gained in ((0, 2), (1, 20), (2, 38)):
        values[f"sft#{seed}/chat"] = np.where(np.arange(N) < 2 * gained, 1, np.arange(N) % 2)
    [row] = compared(found, values)["recipes"]
    assert row["verdict"] == "undecided"
    assert row["minimum_detectable_effect"] > row["difference"] == pytest.approx(0.1)
    assert 3 < row["seeds_needed"] < 30


DRAWN = {name: {"format": "chat", "temperature": 0.7, "seed": i} for i, name in enumerate(("once", "twice"))}


def test_a_variant_that_is_drawn_twice_has_a_flip_rate(tmp_path):
    found = described(tmp_path, train=trained("sft"), seeds=[0], evaluate=DRAWN)
    values = answers(found)
    rows = compared(found, values)["noise"]
    assert [row["variant"] for row in rows] == ["base", "sft"]
    for row in rows:
        pair = [values[f"{row['variant']}/{name}"] for name in ("once", "twice")]
        expected = flip_rate(*pair)
        assert (row["flip_rate"], row["low"], row["high"]) == (expected.value, expected.low, expected.high)
        assert (row["evaluations"], row["seeds"], row["n"]) == (["once", "twice"], [0, 1], N)
        assert row["change"] == pytest.approx(pair[1].mean() - pair[0].mean()) != 0


@pytest.mark.parametrize("other", [{"temperature": 0.9}, {"rows_seed": 5}, {"format": "raw"}, {"max_new_tokens": 3}])
def test_evaluations_that_differ_in_more_than_the_seed_are_no_noise(tmp_path, other):
    evaluate = {"once": DRAWN["once"], "twice": {**DRAWN["twice"], **other}}
    found = described(tmp_path, train={}, evaluate=evaluate)
    assert compared(found, answers(found))["noise"] == []


def test_greedy_decoding_has_no_noise_by_construction(tmp_path):
    evaluate = {name: {**entry, "temperature": 0.0} for name, entry in DRAWN.items()}
    found = described(tmp_path, train={}, evaluate=evaluate)
    [row] = compared(found, answers(found))["noise"]
    assert "0 by construction" in row["note"]
    assert "flip_rate" not in row


def test_a_pair_without_a_shared_item_says_so(tmp_path):
    found = described(tmp_path, train={}, evaluate=DRAWN)
    values = {"base/once": [1, None], "base/twice": [None, 1]}
    [row] = compared(found, values)["noise"]
    assert row["refused"] == "no item was scored in both"
