"""The mean and its clustered error, against scipy, an OLS with cluster-robust covariance, and simulation."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t
from statsmodels.stats.proportion import proportion_confint

from tunelab.stats import mean_t
from tunelab.stats.means import Mean, mean_bounds

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def clustered_scores(rng, clusters=12):
    labels = np.repeat(np.arange(clusters), rng.integers(1, 8, size=clusters))
    return rng.normal(0.5, 0.1, len(labels)) + rng.normal(0, 0.2, clusters)[labels], labels


def test_mean_equals_scipy_t_interval():
    values = np.random.default_rng(1).uniform(size=37)
    interval = mean_t(values, confidence=0.9)
    se = values.std(ddof=1) / np.sqrt(37)
    assert (interval.low, interval.high) == pytest.approx(t.interval(0.9, 36, values.mean(), se))
    assert (interval.value, interval.se, interval.n) == pytest.approx((values.mean(), se, 37))


@pytest.mark.parametrize("seed", range(5))
def test_clustered_mean_equals_ols_with_cluster_robust_covariance(seed):
    values, labels = clustered_scores(np.random.default_rng(seed))
    fit = sm.OLS(values, np.ones_like(values)).fit(
        cov_type="cluster", cov_kwds={"groups": labels, "use_correction": True, "df_correction": True}, use_t=True
    )
    interval = mean_t(values, labels)
    assert interval.se == pytest.approx(fit.bse[0], rel=1e-10)
    assert (interval.low, interval.high) == pytest.approx(tuple(fit.conf_int()[0]), rel=1e-10)


def test_clustered_error_equals_the_written_formula():
    values, clusters = np.array([1.0, 0.0, 1.0, 1.0, 0.0]), ["a", "a", "b", "b", "c"]
    sums = np.array([1 - 2 * 0.6, 2 - 2 * 0.6, 0 - 0.6])
    assert mean_t(values, clusters).se == pytest.approx(np.sqrt(3 / 2 * (sums**2).sum()) / 5)
    assert mean_t(values, clusters).method == "clustered_t"


def test_clusters_of_one_item_change_nothing():
    values = np.random.default_rng(2).uniform(size=20)
    alone, plain = mean_t(values, clusters=np.arange(20)), mean_t(values)
    assert (alone.low, alone.high, alone.se) == pytest.approx((plain.low, plain.high, plain.se))


def test_asking_each_question_twice_adds_no_information():
    values = np.random.default_rng(3).uniform(size=25)
    twice = mean_t(np.repeat(values, 2), clusters=np.repeat(np.arange(25), 2))
    once = mean_t(values)
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))
    assert mean_t(np.repeat(values, 2)).se < once.se


def test_clustered_interval_covers_the_truth_where_the_plain_one_does_not():
    rng = np.random.default_rng(4)
    covered = np.zeros(2)
    for _ in range(400):
        values, labels = clustered_scores(rng, clusters=15)
        intervals = mean_t(values, labels), mean_t(values)
        covered += [i.low <= 0.5 <= i.high for i in intervals]
    assert covered[0] / 400 == pytest.approx(0.94, abs=0.03)
    assert covered[1] / 400 < 0.85


@given(SCORES)
def test_interval_contains_the_mean_and_never_has_zero_width(values):
    interval = mean_t(values)
    assert interval.low <= interval.value <= interval.high
    assert interval.low < interval.high


@pytest.mark.parametrize("n", [1, 3, 50])
def test_unanimous_scores_get_the_exact_binomial_bounds(n):
    right, wrong = mean_t(np.ones(n)), mean_t(np.zeros(n))
    assert (right.low, right.high) == pytest.approx(proportion_confint(n, n, method="beta"))
    assert (wrong.low, wrong.high) == pytest.approx(proportion_confint(0, n, method="beta"))
    assert right.method == "unanimous"


def test_unanimous_percent_scores_use_their_own_range():
    interval = mean_t([40.0, 40.0, 40.0])
    assert interval.low == pytest.approx(40 * 0.025 ** (1 / 3))
    assert interval.high == 40.0


def test_clusters_that_agree_use_the_whole_observed_range():
    interval = mean_t([20.0, 60.0, 60.0, 20.0], clusters=["a", "a", "b", "b"])
    dissent = 1 - 0.025 ** (1 / 2)
    assert (interval.low, interval.high) == pytest.approx((40 - 40 * dissent, 40 + 20 * dissent))


def test_unanimous_bounds_follow_the_confidence():
    assert mean_t([1.0] * 5, confidence=0.8).low == pytest.approx(0.1 ** (1 / 5))


def test_one_cluster_is_one_observation():
    interval = mean_t([0.0, 1.0, 1.0, 0.0], clusters=["only"] * 4)
    assert (interval.low, interval.high) == pytest.approx((0.0125, 0.9875))


@pytest.mark.parametrize("values", [[0.5, np.nan], [np.inf], [], [[1.0, 0.0]]])
def test_values_that_are_no_scores_are_refused(values):
    with pytest.raises(ValueError, match="values: got"):
        mean_t(values)


def test_missing_scores_are_counted_in_the_message():
    with pytest.raises(ValueError, match=r"got 2 NaN or infinite of 3.*count them as missing"):
        mean_t([np.nan, 1.0, np.nan])


def test_labels_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"clusters: got shape \(2,\), expected \(3,\)"):
        mean_t([0.1, 0.2, 0.3], clusters=["a", "b"])


@pytest.mark.parametrize(
    ("value", "span", "expected"),
    [
        (0.95, (0.0, 1.0), (0.75, 1.0)),
        (0.05, (0.0, 1.0), (0.0, 0.25)),
        (-0.9, (-1.0, 1.0), (-1.0, -0.7)),
        (0.5, (0.0, 1.0), (0.3, 0.7)),
        (95.0, (0.0, 100.0), (94.8, 95.2)),
        (99.9, (0.0, 100.0), (99.7, 100.1)),
    ],
)
def test_shares_do_not_leave_their_range_and_other_scales_are_not_clipped(value, span, expected):
    bounds = mean_bounds(Mean(value, se=0.2 / t.ppf(0.975, 30), df=30, units=31), span, confidence=0.95)
    assert bounds == pytest.approx(expected)


@pytest.mark.parametrize("wrong", [1, 2, 3])
def test_a_mean_near_the_top_is_clipped_at_one_and_keeps_its_lower_end(wrong):
    values = np.array([0.0] * wrong + [1.0] * (20 - wrong))
    interval, half = mean_t(values), t.ppf(0.975, 19) * values.std(ddof=1) / np.sqrt(20)
    assert interval.high == min(1.0, values.mean() + half) <= 1
    assert interval.low == pytest.approx(values.mean() - half)
