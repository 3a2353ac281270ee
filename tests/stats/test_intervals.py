"""Intervals of one proportion, against statsmodels and against exact coverage."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from tunelab.stats import bounds_with_missing, clopper_pearson, wilson

COUNTS = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS, st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_equals_statsmodels(counts, confidence):
    correct, n = counts
    expected = proportion_confint(correct, n, alpha=1 - confidence, method="wilson")
    interval = wilson(correct, n, confidence)
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-12)
    assert (interval.value, interval.n) == (correct / n, n)


@given(COUNTS, st.sampled_from([0.8, 0.95, 0.99]))
def test_clopper_pearson_equals_statsmodels(counts, confidence):
    correct, n = counts
    expected = proportion_confint(correct, n, alpha=1 - confidence, method="beta")
    interval = clopper_pearson(correct, n, confidence)
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-12)
    assert (interval.value, interval.n) == (correct / n, n)


@given(COUNTS)
def test_proportion_intervals_contain_the_estimate_and_stay_within_zero_and_one(counts):
    for interval in (wilson(*counts), clopper_pearson(*counts)):
        assert 0 <= interval.low <= interval.value <= interval.high <= 1
        assert interval.low < interval.high


@pytest.mark.parametrize("rate", [0.005, 0.05, 0.5, 0.93])
def test_clopper_pearson_covers_every_true_rate_at_least_as_often_as_promised(rate):
    n = 60
    chance = binom.pmf(np.arange(n + 1), n, rate)
    covers = [clopper_pearson(k, n).low <= rate <= clopper_pearson(k, n).high for k in range(n + 1)]
    assert chance @ covers >= 0.95


def test_wider_confidence_gives_a_wider_interval():
    narrow, wide = wilson(30, 100, 0.8), wilson(30, 100, 0.99)
    assert wide.low < narrow.low
    assert narrow.high < wide.high


def test_missing_items_bound_the_score_from_worst_to_best():
    interval = bounds_with_missing(correct=60, scored=80, missing=20)
    assert (interval.low, interval.value, interval.high) == (0.6, 0.75, 0.8)
    assert interval.n == 80


def test_nothing_missing_leaves_no_room():
    interval = bounds_with_missing(correct=3, scored=4, missing=0)
    assert interval.low == interval.value == interval.high == 0.75


@given(COUNTS, st.integers(0, 500))
def test_missing_bounds_contain_the_score(counts, missing):
    interval = bounds_with_missing(*counts, missing)
    assert interval.low <= interval.value <= interval.high


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (5, 4), (-1, 4), (0, -3)])
def test_impossible_counts_are_refused(correct, n):
    for interval in (wilson, clopper_pearson, lambda c, n: bounds_with_missing(c, n, 1)):
        with pytest.raises(ValueError, match="expected"):
            interval(correct, n)


def test_negative_missing_and_confidence_in_percent_are_refused():
    with pytest.raises(ValueError, match="missing: got -1"):
        bounds_with_missing(1, 2, -1)
    with pytest.raises(ValueError, match="confidence: got 95"):
        wilson(1, 2, confidence=95)


def test_counts_from_numpy_become_plain_numbers_and_scores_are_refused():
    assert repr(wilson(np.int64(3), np.int64(4))) == repr(wilson(3, 4))
    with pytest.raises(TypeError, match="float"):
        wilson(3.0, 4)


def test_an_interval_cannot_be_changed_after_the_fact():
    with pytest.raises(dataclasses.FrozenInstanceError):
        wilson(1, 2).value = 1.0
