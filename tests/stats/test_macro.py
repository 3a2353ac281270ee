"""Macro averages against a plain mean, Welch's test and simulated studies."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from tunelab.stats import macro_mean
from tunelab.stats.means import Mean, clustered_mean, mean_bounds, p_against_zero


def mean_of(values):
    return clustered_mean(np.asarray(values, dtype=float), None, 1.0)


def test_the_average_of_one_set_is_its_mean():
    found = mean_of([0.0, 1.0, 1.0, 0.5])
    again = macro_mean([found])
    assert (again.value, again.se, again.df) == pytest.approx((found.value, found.se, found.df))


def test_a_weighted_difference_of_two_sets_is_welchs_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.6, 0.1, 30), rng.normal(0.5, 0.4, 80)
    second = mean_of(b)
    negated = Mean(-second.value, second.se, second.df, second.units)
    found = macro_mean([mean_of(a), negated])
    welch = ttest_ind(a, b, equal_var=False)
    assert found.value * 2 == pytest.approx(a.mean() - b.mean())
    assert (found.df, p_against_zero(found)) == pytest.approx((welch.df, welch.pvalue))


def test_every_set_weighs_the_same_whatever_its_size():
    found = macro_mean([mean_of([1.0, 0.0] * 10), mean_of([1.0, 1.0, 1.0, 0.0] * 500)])
    assert found.value == pytest.approx((0.5 + 0.75) / 2)


def test_intervals_cover_the_average_of_the_true_scores():
    rng, covered, studies = np.random.default_rng(1), 0, 1500
    truths, sizes = [0.9, 0.6, 0.35], [40, 150, 400]
    for _ in range(studies):
        low, high = mean_bounds(
            macro_mean([mean_of(rng.random(n) < p) for p, n in zip(truths, sizes, strict=True)]), (0, 1), 0.95
        )
        covered += low <= np.mean(truths) <= high
    assert 0.93 <= covered / studies <= 0.97


@pytest.mark.parametrize(("count", "weights"), [(0, None), (2, [0.5, 0.6]), (2, [1.0])])
def test_weights_must_be_one_for_each_and_sum_to_one(count, weights):
    with pytest.raises(ValueError, match="expected"):
        macro_mean([Mean(0.5, 0.1, 9, 10)] * count, weights)
