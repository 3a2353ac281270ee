"""Position bias, against scipy on one number of choices and against simulation on several."""

import numpy as np
import pytest
from scipy import stats

from tunelab.stats.positions import position_bias


def test_with_one_number_of_choices_it_is_pearsons_test():
    found = position_bias({4: [30, 20, 25, 45]})
    oracle = stats.chisquare([30, 20, 25, 45])
    assert (found["chi2"], found["p"]) == (pytest.approx(oracle.statistic), pytest.approx(oracle.pvalue))
    assert (found["df"], found["questions"]) == (3, 120)


def test_over_several_numbers_of_choices_fair_answers_are_rejected_as_often_as_alpha_says():
    draw = np.random.default_rng(0)
    fair = [position_bias({k: draw.multinomial(60, [1 / k] * k).tolist() for k in (3, 5)})["p"] for _ in range(2000)]
    assert np.mean(np.array(fair) < 0.05) == pytest.approx(0.05, abs=0.015)


def test_a_place_that_is_never_right_is_found():
    assert position_bias({3: [50, 50, 50], 4: [40, 40, 40, 0]})["p"] < 1e-6


@pytest.mark.parametrize("counts", [{}, {1: [9]}, {4: [3, 4, 5, 3]}, {2: [50, 50], 5: [1, 0, 0, 0, 0]}])
def test_too_few_questions_are_not_tested(counts):
    assert position_bias(counts)["p"] is None
