"""The noise floor of one variant evaluated twice, and the agreement of two judges."""

import numpy as np
import pytest

from tunelab.stats import agreement, flip_rate, wilson


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


def judges(both, first_only, second_only, neither):
    """What two judges say of items, by how many items both, one or none of them call safe."""
    first = [1.0] * both + [1.0] * first_only + [0.0] * (second_only + neither)
    second = [1.0] * both + [0.0] * first_only + [1.0] * second_only + [0.0] * neither
    return np.array(first), np.array(second)


def kappa_by_definition(first, second):
    observed = np.mean(first == second)
    chance = first.mean() * second.mean() + (1 - first.mean()) * (1 - second.mean())
    return (observed - chance) / (1 - chance)


def test_kappa_is_agreement_beyond_what_the_rates_give():
    found = agreement(*judges(20, 5, 10, 15))
    assert (found.share.value, found.share.n) == (0.7, 50)
    assert found.kappa == pytest.approx(0.4)
    assert found.kappa == pytest.approx(kappa_by_definition(*judges(20, 5, 10, 15)))


def test_the_interval_of_kappa_is_what_drawing_the_items_again_gives():
    first, second = judges(120, 30, 25, 125)
    found, random = agreement(first, second), np.random.default_rng(3)
    draws = [random.integers(0, len(first), len(first)) for _ in range(4000)]
    low, high = np.quantile([kappa_by_definition(first[d], second[d]) for d in draws], [0.025, 0.975])
    assert (found.low, found.high) == (pytest.approx(low, abs=0.02), pytest.approx(high, abs=0.02))


def test_judges_that_nearly_always_say_the_same_may_not_agree_beyond_chance():
    found = agreement(*judges(96, 2, 2, 0))
    assert found.share.value == 0.96
    assert found.kappa < 0


@pytest.mark.parametrize("table", [(9, 0, 0, 0), (0, 0, 0, 9), (6, 4, 0, 0), (0, 3, 0, 2)])
def test_no_kappa_where_a_judge_says_one_thing_only(table):
    found = agreement(*judges(*table))
    assert (found.kappa, found.low, found.high) == (None, None, None)
    assert found.reason == "one of the two says the same of every item"


@pytest.mark.parametrize(
    ("table", "kappa"), [((5, 0, 0, 4), 1), ((7, 0, 0, 3), 1), ((1, 0, 0, 1), 1), ((0, 5, 5, 0), -1)]
)
def test_full_agreement_and_full_disagreement_have_no_interval_of_zero_width(table, kappa):
    found = agreement(*judges(*table))
    assert (found.kappa, found.low, found.high) == (pytest.approx(kappa), None, None)
    assert found.reason == "no spread to make an interval of"
