"""The noise floor of one variant evaluated twice."""

import numpy as np
import pytest

from tunelab.stats import flip_rate, wilson


def test_flips_in_both_directions_count_though_the_score_is_unchanged():
    first, second = np.array([1.0, 0, 1, 0]), np.array([0.0, 1, 1, 0])
    assert first.mean() == second.mean()
    assert flip_rate(first, second).value == 0.5


def test_flip_rate_has_the_wilson_interval_of_its_count():
    first = np.zeros(50)
    second = np.where(np.arange(50) < 7, 1.0, 0.0)
    rate, expected = flip_rate(first, second), wilson(7, 50)
    assert (rate.low, rate.value, rate.high, rate.n) == (expected.low, 0.14, expected.high, 50)


def test_any_change_of_a_graded_score_is_a_flip():
    assert flip_rate([0.30, 0.5, 0.9], [0.31, 0.5, 0.9]).value == pytest.approx(1 / 3)


def test_equal_runs_do_not_prove_that_no_item_ever_flips():
    rate = flip_rate(np.ones(20), np.ones(20))
    assert rate.value == 0
    assert rate.high > 0.1


@pytest.mark.parametrize(("first", "second"), [([1.0], [1.0, 0.0]), ([np.nan], [1.0]), ([], [])])
def test_runs_that_cannot_be_compared_are_refused(first, second):
    with pytest.raises(ValueError, match="got"):
        flip_rate(first, second)
