"""Paired differences and contrasts, against scipy, statsmodels, OLS and enumeration."""

from itertools import product

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_rel
from statsmodels.stats.contingency_tables import mcnemar

from tunelab.stats import contrast, mcnemar_exact, mean_t, paired_difference

SCORE = st.floats(0, 1).map(lambda x: round(x, 3))
PAIRS = st.lists(st.tuples(SCORE, SCORE), min_size=1, max_size=30).map(lambda pairs: np.array(pairs).T)
RIGHT_WRONG = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60).map(
    lambda pairs: np.array(pairs, dtype=float).T
)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_statsmodels(b, c):
    expected = mcnemar([[7, b], [c, 9]], exact=True).pvalue if b + c else 1.0
    assert mcnemar_exact(b, c) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("b", "c"), [(0, 1), (1, 4), (6, 2), (3, 3)])
def test_mcnemar_equals_counting_all_sign_patterns(b, c):
    wins = np.array([sum(signs) for signs in product([0, 1], repeat=b + c)])
    tail = min(np.mean(wins <= b), np.mean(wins >= b))
    assert mcnemar_exact(b, c) == pytest.approx(min(1, 2 * tail))


@given(RIGHT_WRONG)
def test_right_wrong_scores_are_tested_by_mcnemar_on_the_discordant_pairs(scores):
    a, b = scores
    result = paired_difference(a, b)
    wins, losses = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    assert (result.b, result.c, result.test) == (wins, losses, "mcnemar_exact")
    assert result.p_value == mcnemar_exact(wins, losses)
    assert result.discordant == (wins + losses) / len(a)
    assert result.difference == pytest.approx((wins - losses) / len(a))


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_interval_equals_the_paired_t_test_of_scipy(confidence):
    a, b = np.random.default_rng(1).uniform(size=(2, 40))
    result, expected = paired_difference(a, b, confidence=confidence), ttest_rel(a, b)
    interval = expected.confidence_interval(confidence)
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high))
    assert (result.p_value, result.df, result.test) == (pytest.approx(expected.pvalue), 39, "paired_t")


def test_interval_of_right_wrong_scores_is_the_paired_t_interval():
    a, b = np.random.default_rng(2).integers(0, 2, size=(2, 50)).astype(float)
    interval = ttest_rel(a, b).confidence_interval()
    result = paired_difference(a, b)
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("kind", ["graded", "right_wrong"])
def test_clustered_difference_equals_ols_with_cluster_robust_covariance(kind):
    a, b = np.random.default_rng(3).uniform(size=(2, 60))
    a, b = (a, b) if kind == "graded" else (a.round(), b.round())
    groups = np.arange(60) // 4
    fit = sm.OLS(a - b, np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    result = paired_difference(a, b, clusters=groups)
    assert (result.se, result.p_value, result.df) == pytest.approx((fit.bse[0], fit.pvalues[0], 14))
    assert (result.low, result.high) == pytest.approx(tuple(fit.conf_int()[0]))
    assert result.test == "clustered_t"


def test_pairing_finds_a_difference_that_overlapping_intervals_hide():
    difficulty = np.random.default_rng(4).uniform(0.1, 0.9, size=100)
    better = difficulty + np.random.default_rng(5).normal(0.02, 0.03, size=100)
    result = paired_difference(better, difficulty)
    apart = mean_t(better), mean_t(difficulty)
    assert apart[0].low < apart[1].value < apart[0].high
    assert result.low > 0
    assert result.p_value < 1e-5


@given(PAIRS)
def test_swapping_the_variants_turns_the_sign_and_nothing_else(scores):
    forward, back = paired_difference(*scores), paired_difference(*scores[::-1])
    assert (back.difference, back.se, back.p_value) == (-forward.difference, forward.se, forward.p_value)
    assert (back.low, back.high) == pytest.approx((-forward.high, -forward.low), abs=1e-15)
    assert (back.b, back.c, back.discordant) == (forward.c, forward.b, forward.discordant)


@given(st.one_of(PAIRS, RIGHT_WRONG))
def test_interval_contains_the_difference_and_p_is_a_probability(scores):
    result = paired_difference(*scores)
    assert result.low <= result.difference <= result.high
    assert result.low < result.high
    assert 0 <= result.p_value <= 1


def test_identical_scores_are_no_evidence_of_a_difference_nor_proof_of_equality():
    scores = np.random.default_rng(6).uniform(size=30)
    result = paired_difference(scores, scores)
    assert (result.difference, result.p_value, result.se, result.discordant) == (0.0, 1.0, 0.0, 0.0)
    assert result.high == -result.low == pytest.approx(1 - 0.025 ** (1 / 30))


@pytest.mark.parametrize(("n", "p"), [(1, 1.0), (2, 0.5), (6, 0.03125)])
def test_a_constant_difference_is_judged_by_the_sign_test(n, p):
    a = np.linspace(0.3, 0.7, n)
    result = paired_difference(a, a - 0.1)
    assert (result.test, result.p_value, result.se) == ("sign_exact", p, 0.0)
    assert result.difference == pytest.approx(0.1)
    assert result.low < 0.1 < result.high


def test_one_cluster_cannot_show_a_difference():
    result = paired_difference([0.9, 0.2, 0.8], [0.1, 0.1, 0.3], clusters=["p", "p", "p"])
    assert result.p_value == 1.0
    assert result.low < 0 < result.high


def test_p_values_of_equal_variants_are_seldom_small():
    rng = np.random.default_rng(7)
    p = [paired_difference(*rng.integers(0, 2, size=(2, 40)).astype(float)).p_value for _ in range(600)]
    assert 0.005 < np.mean(np.array(p) <= 0.05) <= 0.06


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        ([1.0, np.nan], [1.0, 0.0], "a: got 1 NaN"),
        ([1.0, 0.0], [np.nan, 0.0], "b: got 1 NaN"),
        ([1.0, 0.0], [1.0], "got 2 and 1 items.*sample id"),
        ([], [], "got no values"),
    ],
)
def test_scores_that_cannot_be_paired_are_refused_with_the_reason(a, b, reason):
    with pytest.raises(ValueError, match=reason):
        paired_difference(a, b)


def test_negative_discordant_pairs_are_refused():
    with pytest.raises(ValueError, match="discordant pairs: got -1 and 3"):
        mcnemar_exact(-1, 3)


def test_contrast_of_two_cells_is_the_paired_t_test():
    scores = np.random.default_rng(8).uniform(size=(2, 30))
    result, expected = contrast(scores, [1, -1]), ttest_rel(*scores)
    assert (result.value, result.p_value, result.df, result.n) == pytest.approx(
        (np.mean(scores[0] - scores[1]), expected.pvalue, 29, 30)
    )
    assert (result.low, result.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_contrast_tests_the_weighted_sum_of_each_item():
    scores = np.random.default_rng(9).uniform(size=(4, 50))
    weights = [0.5, -0.5, -0.5, 0.5]
    expected = ttest_1samp(np.array(weights) @ scores, 0)
    result = contrast(scores, weights)
    assert (result.value, result.p_value) == pytest.approx((weights @ scores.mean(axis=1), expected.pvalue))


def test_contrast_respects_clusters():
    scores, groups = np.random.default_rng(10).uniform(size=(3, 40)), np.repeat(np.arange(8), 5)
    weights = np.array([1, -0.5, -0.5])
    fit = sm.OLS(weights @ scores, np.ones(40)).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    result = contrast(scores, weights, clusters=groups)
    assert (result.se, result.p_value) == pytest.approx((fit.bse[0], fit.pvalues[0]))
    assert result.test == "clustered_t"


def test_contrast_without_spread_is_bounded_by_what_the_weights_allow():
    result = contrast(np.ones((4, 5)), [1, 1, -1, -1])
    assert (result.value, result.p_value, result.test) == (0.0, 1.0, "sign_exact")
    assert result.high == -result.low == pytest.approx(2 * (1 - 0.025 ** (1 / 5)))


@pytest.mark.parametrize("weights", [[1.0, 1.0], [0.0, 0.0], [1.0, -0.5]])
def test_weights_that_make_no_contrast_are_refused(weights):
    with pytest.raises(ValueError, match="expected 0 with some not 0"):
        contrast(np.eye(2), weights)


def test_one_weight_per_cell_is_required():
    with pytest.raises(ValueError, match="weights: got 3, expected 2"):
        contrast(np.eye(2), [1, -0.5, -0.5])
