"""Outcomes and summaries: what has no value is left out, counted and bounded; what is zero is zero."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, t

from tunelab.scoring.aggregate import item_values, summarise
from tunelab.scoring.score import Metric, Outcome, Score, at_budget_end, judged

METRIC = Metric("m")
OUTCOMES = st.lists(st.sampled_from([Outcome.CORRECT, Outcome.WRONG, Outcome.UNSCORED]), min_size=1, max_size=40)


def score(outcome: Outcome) -> Score:
    return Score(outcome, {} if outcome is Outcome.UNSCORED else {"m": float(outcome is Outcome.CORRECT)})


def items(outcomes):
    return {f"q{i}": [score(outcome)] for i, outcome in enumerate(outcomes)}


@pytest.mark.parametrize(
    ("correct", "answer", "expected"),
    [(True, "4", Outcome.CORRECT), (False, "5", Outcome.WRONG), (False, None, Outcome.NO_ANSWER)],
)
def test_an_outcome_says_why_the_value_is_what_it_is(correct, answer, expected):
    assert judged(correct, answer, {"m": float(correct)}).outcome is expected


@pytest.mark.parametrize("outcome", Outcome)
def test_only_an_answer_that_is_not_right_becomes_truncated(outcome):
    cut = at_budget_end(Score(outcome, {"m": 0.0}, "4", "why"))
    missed = outcome in (Outcome.WRONG, Outcome.NO_ANSWER)
    assert cut == Score(Outcome.TRUNCATED if missed else outcome, {"m": 0.0}, "4", "why")


@given(OUTCOMES)
def test_unscored_is_left_out_counted_and_bounded(outcomes):
    summary = summarise(items(outcomes), [METRIC])
    right, missing, n = outcomes.count(Outcome.CORRECT), outcomes.count(Outcome.UNSCORED), len(outcomes)
    found = summary["metrics"]["m"]
    assert (summary["n"], summary["scored"], summary["outcomes"]["unscored"]) == (n, n - missing, missing)
    if n == missing:
        unknown = {"value": None, "low": None, "high": None, "method": "none", "n": 0}
        assert found == {**unknown, "worst_case": 0.0, "best_case": 1.0}
        return
    assert found["value"] == pytest.approx(right / (n - missing))
    assert found.get("worst_case", found["value"]) == pytest.approx(right / n)
    assert found.get("best_case", found["value"]) == pytest.approx((right + missing) / n)


def test_truncated_and_unanswered_count_as_zero_and_apart():
    scores = {
        "a": [score(Outcome.CORRECT)],
        "b": [Score(Outcome.TRUNCATED, {"m": 0.0})],
        "c": [judged(False, None, {"m": 0.0})],
    }
    summary = summarise(scores, [METRIC])
    assert summary["metrics"]["m"]["value"] == pytest.approx(1 / 3)
    assert (summary["outcomes"]["truncated"], summary["outcomes"]["no_answer"], summary["scored"]) == (1, 1, 3)


@given(st.integers(0, 50), st.integers(1, 50))
def test_right_and_wrong_get_the_wilson_interval_of_scipy(right, more):
    n = right + more
    found = summarise(items([Outcome.CORRECT] * right + [Outcome.WRONG] * more), [METRIC])["metrics"]["m"]
    expected = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))


def test_graded_values_get_the_t_interval_of_scipy():
    values = np.random.default_rng(0).uniform(size=30)
    scores = {str(i): [Score(Outcome.WRONG, {"f1": v})] for i, v in enumerate(values)}
    found = summarise(scores, [Metric("f1", binary=False)])["metrics"]["f1"]
    expected = t.interval(0.95, 29, values.mean(), values.std(ddof=1) / np.sqrt(30))
    assert (found["low"], found["high"]) == pytest.approx(expected)


def test_draws_of_an_item_count_once_with_their_mean():
    scores = {
        "a": [score(Outcome.CORRECT), score(Outcome.WRONG), score(Outcome.UNSCORED)],
        "b": [score(Outcome.CORRECT)],
    }
    assert item_values(scores, "m") == {"a": 0.5, "b": 1.0}
    assert summarise(scores, [METRIC])["metrics"]["m"]["value"] == 0.75
