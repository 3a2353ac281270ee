"""Adjusted p-values, against the step-down and step-up definitions written out, and scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from tunelab.stats import benjamini_hochberg, holm

# statsmodels collects garbage on each call of Holm's method, some 40 ms.
few = settings(max_examples=20)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=25)


def test_holm_on_a_worked_example_keeps_the_order_of_the_input():
    assert holm([0.03, 0.01, 0.04, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])


@few
@given(P_VALUES)
def test_holm_rejects_what_the_step_down_procedure_rejects(p):
    adjusted, rejecting = holm(p), True
    for rank, i in enumerate(np.argsort(p, kind="stable")):
        rejecting = rejecting and p[i] * (len(p) - rank) <= 0.05
        if abs(adjusted[i] - 0.05) > 1e-9:
            assert (adjusted[i] <= 0.05) == rejecting


@given(P_VALUES)
def test_benjamini_hochberg_equals_scipy(p):
    assert benjamini_hochberg(p) == pytest.approx(false_discovery_control(p, method="bh"))


@few
@given(P_VALUES)
def test_adjusting_never_lowers_a_p_value_and_holm_is_the_stricter(p):
    strict, lenient = holm(p), benjamini_hochberg(p)
    assert np.all(lenient >= p)
    assert np.all(strict >= lenient - 1e-12)
    assert np.all((strict >= p) & (strict <= 1))


@few
@given(P_VALUES)
def test_adjusting_keeps_the_ranking(p):
    for adjusted in (holm(p), benjamini_hochberg(p)):
        assert np.all(np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0)


def test_a_family_of_one_needs_no_adjustment_and_an_empty_one_stays_empty():
    assert holm([0.04]) == pytest.approx([0.04])
    assert holm([]).shape == benjamini_hochberg([]).shape == (0,)


@pytest.mark.parametrize("p", [[np.nan, 0.5], [1.2], [-0.1, 0.5], [[0.1, 0.2]]])
def test_values_that_are_no_p_values_are_refused(p):
    for adjust in (holm, benjamini_hochberg):
        with pytest.raises(ValueError, match="p-values: got"):
            adjust(p)
