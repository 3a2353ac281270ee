"""pass@k is estimated from the draws of each item, and only where there are enough of them."""

from itertools import combinations
from math import comb

import pytest

from tunelab.errors import DataError
from tunelab.scoring.aggregate import summarise
from tunelab.scoring.pass_at_k import pass_at_k
from tunelab.scoring.score import Metric, Outcome, Score

METRIC = Metric("pass_at_1", at={2: "pass_at_2", 5: "pass_at_5"})


def draws(verdicts):
    """Scores of one item: 1 passed, 0 failed, ? could not be judged."""
    outcomes = {"1": Outcome.CORRECT, "0": Outcome.WRONG, "?": Outcome.UNSCORED}
    return [Score(outcomes[v], {} if v == "?" else {"pass_at_1": float(v)}) for v in verdicts]


@pytest.mark.parametrize(
    ("n", "passed", "k"), [(n, c, k) for n in (1, 2, 7) for c in range(n + 1) for k in range(1, n + 1)]
)
def test_pass_at_k_is_the_share_of_groups_of_k_with_a_pass(n, passed, k):
    programs = [number < passed for number in range(n)]
    share = sum(map(any, combinations(programs, k))) / comb(n, k)
    assert pass_at_k(n, passed, k) == pytest.approx(share, abs=1e-12)


def test_pass_at_1_of_the_authors_example_is_theirs_to_the_last_bit():
    assert pass_at_k(6, 3, 1) == 0.4999999999999999


def test_pass_at_k_of_fewer_programs_is_refused():
    with pytest.raises(DataError, match=r"pass@5: got 4 programs"):
        pass_at_k(4, 2, 5)


def test_a_summary_has_pass_at_k_where_every_item_has_as_many_draws():
    found = summarise({"a": draws("100"), "b": draws("000?"), "c": draws("111")}, [METRIC])["metrics"]
    assert list(found) == ["pass_at_1", "pass_at_2"]
    assert found["pass_at_1"]["value"] == pytest.approx((1 / 3 + 0 + 1) / 3)
    assert found["pass_at_2"]["value"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert found["pass_at_2"]["n"] == 3


@pytest.mark.parametrize(
    "items", [{"a": draws("1"), "b": draws("0")}, {"a": draws("11"), "b": draws("0")}, {"a": draws("?")}]
)
def test_an_item_with_too_few_draws_leaves_pass_at_k_out(items):
    assert list(summarise(items, [METRIC])["metrics"]) == ["pass_at_1"]
