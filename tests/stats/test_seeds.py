"""Several seeds of one recipe: the known variance of a two-way layout, and coverage by simulation."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import t
from statsmodels.formula.api import ols

from tunelab.stats import (
    between_seed_sd,
    mean_t,
    paired_difference,
    seed_corpus_difference,
    seed_corpus_mean,
    seed_difference,
    seed_mean,
)
from tunelab.stats.levels import two_level_df


def layout(rng, seeds, items, seed_sd, item_sd):
    between_seeds, between_items = rng.normal(0, seed_sd, (seeds, 1)), rng.normal(0, item_sd, (1, items))
    return 0.5 + between_seeds + between_items + rng.normal(0, 0.1, (seeds, items))


@pytest.mark.parametrize(("seed_sd", "item_sd"), [(0.05, 0.0), (0.0, 0.4), (0.04, 0.4)])
def test_interval_covers_the_recipe_whatever_the_source_of_spread(seed_sd, item_sd):
    rng = np.random.default_rng(1)
    intervals = [seed_mean(layout(rng, 3, 80, seed_sd, item_sd), seed, replicates=120) for seed in range(150)]
    assert 0.9 <= np.mean([i.low <= 0.5 <= i.high for i in intervals]) <= 0.995


def test_error_between_seeds_is_not_shrunk_by_resampling_three():
    scores = np.repeat([[0.4], [0.5], [0.6]], 50, axis=1)
    interval = seed_mean(scores, seed=0, replicates=4000)
    assert interval.se == pytest.approx(0.1 / np.sqrt(3), rel=0.05)
    assert interval.high == pytest.approx(0.5 + 4.303 * interval.se, rel=1e-3)


def test_items_are_shared_so_equal_seeds_add_no_information():
    one = np.random.default_rng(2).uniform(size=100)
    interval, alone = seed_mean(np.tile(one, (5, 1)), seed=0, replicates=4000), mean_t(one)
    assert interval.se == pytest.approx(alone.se, rel=0.05)
    assert interval.high - interval.low == pytest.approx(alone.high - alone.low, rel=0.05)


def test_clusters_are_drawn_whole():
    one, groups = np.repeat(np.random.default_rng(3).uniform(size=20), 5), np.repeat(np.arange(20), 5)
    clustered = seed_mean(np.tile(one, (3, 1)), seed=0, replicates=4000, clusters=groups)
    assert clustered.se == pytest.approx(mean_t(one, groups).se, rel=0.05)


def test_difference_from_a_fixed_checkpoint_is_paired_over_items():
    base = np.random.default_rng(4).uniform(size=100)
    tuned = base + np.random.default_rng(5).normal(0.05, 0.02, size=100)
    result = seed_difference(np.tile(tuned, (3, 1)), base[None, :], seed=0, replicates=4000)
    expected = paired_difference(tuned, base)
    assert (result.value, result.se) == pytest.approx((expected.difference, expected.se), rel=0.05)
    assert result.p_value < 1e-6


def test_seeds_of_two_recipes_vary_independently():
    scores = np.repeat([[0.4], [0.5], [0.6]], 50, axis=1)
    result = seed_difference(scores, scores, seed=0, replicates=4000)
    assert result.value == pytest.approx(0, abs=1e-12)
    assert result.se == pytest.approx(0.1 * np.sqrt(2 / 3), rel=0.05)
    assert result.df == pytest.approx(4)


def test_swapping_the_recipes_turns_the_sign():
    rng = np.random.default_rng(6)
    a, b = layout(rng, 3, 40, 0.03, 0.2), layout(rng, 4, 40, 0.03, 0.2)
    forward, back = seed_difference(a, b, 0, 3000), seed_difference(b, a, 0, 3000)
    assert (back.value, back.se) == (pytest.approx(-forward.value), pytest.approx(forward.se, rel=0.06))


def test_the_seed_makes_it_reproducible():
    scores = layout(np.random.default_rng(7), 3, 30, 0.05, 0.2)
    assert seed_mean(scores, 1, 50) == seed_mean(scores, 1, 50)
    assert seed_mean(scores, 1, 50).se != seed_mean(scores, 2, 50).se


def test_scores_without_spread_are_not_certain():
    interval = seed_mean(np.ones((3, 10)), seed=0, replicates=20)
    result = seed_difference(np.ones((3, 10)), np.ones((1, 10)), seed=0, replicates=20)
    assert (interval.low, interval.high) == pytest.approx((0.025**0.1, 1.0))
    assert (result.p_value, result.test) == (1.0, "sign_exact")
    assert result.low < 0 < result.high


def test_between_seed_spread_is_the_sd_of_the_seeds_means():
    scores = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert between_seed_sd(scores) == pytest.approx(np.std([0.5, 1.0, 0.0], ddof=1))


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_or_two_seeds_say_nothing_about_a_recipe(seeds):
    with pytest.raises(ValueError, match=f"got {seeds} seeds, expected at least 3; .*checkpoint"):
        seed_mean(np.ones((seeds, 4)), seed=0)
    with pytest.raises(ValueError, match=f"a: got {seeds} seeds"):
        seed_difference(np.ones((seeds, 4)), np.ones((1, 4)), seed=0)


def test_layouts_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match="b: got 2 seeds"):
        seed_difference(np.ones((3, 4)), np.ones((2, 4)), seed=0)
    with pytest.raises(ValueError, match="got 4 and 5 items"):
        seed_difference(np.ones((3, 4)), np.ones((3, 5)), seed=0)
    with pytest.raises(ValueError, match="one seed has no spread"):
        between_seed_sd(np.ones((1, 4)))
    with pytest.raises(ValueError, match="replicates: got 1"):
        seed_mean(np.ones((3, 4)), seed=0, replicates=1)


def mean_squares(table):
    """Seeds', items' and residual mean squares of a two-way layout without replication, by least squares."""
    rows = [(x, s, i) for s, row in enumerate(table) for i, x in enumerate(row)]
    frame = pd.DataFrame(rows, columns=["x", "seed", "item"])
    found = sm.stats.anova_lm(ols("x ~ C(seed) + C(item)", frame).fit())
    return found["sum_sq"] / found["df"]


def test_the_error_is_that_of_the_analysis_of_variance():
    table = layout(np.random.default_rng(8), 4, 25, 0.2, 0.4)
    squares = mean_squares(table)
    expected = (squares["C(seed)"] + squares["C(item)"] - squares["Residual"]) / table.size
    assert seed_mean(table, seed=0, replicates=20_000).se ** 2 == pytest.approx(expected, rel=0.03)


def test_luck_of_one_seed_on_one_item_is_counted_once():
    table = np.random.default_rng(9).integers(0, 2, (3, 400)).astype(float)
    squares, alone = mean_squares(table), np.var(table.mean(axis=0), ddof=1) / 400
    between = max(0, squares["C(seed)"] - squares["Residual"]) / table.size
    assert seed_mean(table, seed=0, replicates=20_000).se ** 2 == pytest.approx(alone + between, rel=0.03)


@pytest.mark.parametrize(("items", "seeds"), [((0.02, 49), (0.03, 2)), ((0.1, 262), (0.001, 4)), ((1, 30), (1, 30))])
def test_degrees_of_freedom_make_howes_interval(items, seeds):
    half = np.sqrt(sum(v * t.ppf(0.975, df) ** 2 for v, df in (items, seeds)))
    df = two_level_df(items, seeds)
    assert t.ppf(0.975, df) * np.sqrt(items[0] + seeds[0]) == pytest.approx(half)


def test_one_level_alone_keeps_its_degrees_of_freedom():
    assert two_level_df((0.0, 99), (0.5, 2)) == 2
    assert two_level_df((0.5, 99), (0.0, 2)) == 99


def as_parts(table):
    return np.stack([table, np.ones_like(table)], axis=2)


def mean_of(sums):
    return sums[0] / sums[1]


def test_a_mean_by_parts_is_the_mean_of_the_scores():
    rng, groups = np.random.default_rng(10), np.arange(60) // 3
    a, b = layout(rng, 3, 60, 0.05, 0.3), layout(rng, 4, 60, 0.02, 0.3)
    assert seed_corpus_mean(as_parts(a), mean_of, groups).se == pytest.approx(seed_mean(a, 0, clusters=groups).se)
    found, expected = seed_corpus_difference(as_parts(a), as_parts(b), mean_of), seed_difference(a, b, 0)
    assert (found.value, found.se, found.p_value) == pytest.approx((expected.value, expected.se, expected.p_value))


def test_a_corpus_metric_is_the_mean_over_seeds_of_the_whole_and_not_of_the_items():
    parts = np.random.default_rng(11).uniform(0, 1, (3, 40, 2))
    whole = [row.sum(axis=0)[0] / row.sum(axis=0)[1] for row in parts]
    assert seed_corpus_mean(parts, mean_of).value == pytest.approx(np.mean(whole))
    assert seed_corpus_mean(parts, mean_of).value != pytest.approx(np.mean(parts[..., 0] / parts[..., 1]))
    with pytest.raises(ValueError, match="got 2 seeds"):
        seed_corpus_mean(parts[:2], mean_of)
