"""The words that a comparison and a threshold may end in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunelab.stats import Interval, ThresholdVerdict, Verdict, threshold, verdict, wilson


@pytest.mark.parametrize(
    ("difference", "p", "expected"),
    [(0.1, 0.01, "better"), (-0.1, 0.01, "worse"), (0.1, 0.2, "undecided"), (-0.1, 0.2, "undecided")],
)
def test_verdict_needs_evidence_and_then_follows_the_sign(difference, p, expected):
    assert verdict(difference, p) == expected


def test_p_equal_to_alpha_decides_and_no_difference_never_does():
    assert verdict(0.1, 0.05, alpha=0.05) is Verdict.BETTER
    assert verdict(0.1, 0.05, alpha=0.01) is Verdict.UNDECIDED
    assert verdict(0.0, 0.001) is Verdict.UNDECIDED


@given(st.floats(-1, 1), st.floats(0, 1))
def test_turning_the_difference_turns_the_verdict(difference, p):
    turned = {"better": "worse", "worse": "better", "undecided": "undecided"}
    assert verdict(-difference, p) == turned[verdict(difference, p)]


@pytest.mark.parametrize("call", [(float("nan"), 0.1), (0.1, float("nan")), (0.1, 1.5)])
def test_a_comparison_without_a_number_has_no_verdict(call):
    with pytest.raises(ValueError, match="comparison: got"):
        verdict(*call)


def test_an_alpha_in_percent_is_refused():
    with pytest.raises(ValueError, match="alpha: got 5"):
        verdict(0.1, 0.01, alpha=5)


@pytest.mark.parametrize(
    ("at_least", "expected"),
    [
        (0.20, "pass"),
        (0.25, "pass"),
        (0.28, "pass (uncertain)"),
        (0.31, "pass (uncertain)"),
        (0.32, "fail (uncertain)"),
        (0.37, "fail (uncertain)"),
        (0.38, "fail"),
    ],
)
def test_threshold_is_decided_by_the_estimate_and_qualified_by_the_interval(at_least, expected):
    interval = Interval(value=0.31, low=0.25, high=0.37, n=200, method="wilson")
    assert threshold(interval, at_least) == expected


def test_a_baseline_met_exactly_passes():
    assert threshold(wilson(31, 100), 0.31) is ThresholdVerdict.PASS_UNCERTAIN
    assert threshold(wilson(310_000, 1_000_000), 0.308) is ThresholdVerdict.PASS


def test_there_are_four_outcomes_and_no_more():
    assert [outcome.value for outcome in ThresholdVerdict] == [
        "pass",
        "pass (uncertain)",
        "fail (uncertain)",
        "fail",
    ]


def test_a_threshold_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="at_least: got nan"):
        threshold(wilson(1, 2), float("nan"))
