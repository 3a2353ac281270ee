"""Minimum detectable effects: the published figures, the equation they solve, and simulated power."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom, multinomial, norm, ttest_1samp
from scipy.stats import t as student
from statsmodels.stats.power import TTestPower

from tunelab.stats import (
    fewest_items,
    items_needed,
    items_needed_mean,
    mcnemar_exact,
    mcnemar_power,
    minimum_detectable_effect,
    minimum_detectable_mean,
    minimum_detectable_t,
    minimum_detectable_with_seeds,
    seeds_needed,
)

SIZES, SHARES = st.integers(1, 20_000), st.floats(0.001, 1)


@pytest.mark.parametrize(("n", "points"), [(164, 6.8), (500, 3.9), (872, 3.0), (1200, 2.5), (1319, 2.4), (263, 5.4)])
def test_figures_at_ten_percent_discordance(n, points):
    assert 100 * minimum_detectable_effect(n, 0.10) == pytest.approx(points, abs=0.05)


@pytest.mark.parametrize(("n", "discordance", "power", "alpha"), [(500, 0.1, 0.8, 0.05), (2000, 0.3, 0.9, 0.01)])
def test_effect_solves_the_power_equation(n, discordance, power, alpha):
    k = norm.ppf(1 - alpha / 2) + norm.ppf(power)
    root = brentq(lambda d: d - k * np.sqrt((discordance - d**2) / n), 0, discordance)
    assert minimum_detectable_effect(n, discordance, power, alpha) == pytest.approx(root)


def test_the_exact_test_finds_the_effect_about_as_often_as_promised():
    n, discordance = 1000, 0.15
    effect = minimum_detectable_effect(n, discordance)
    wins, losses = (discordance + effect) / 2, (discordance - effect) / 2
    draws = np.random.default_rng(1).multinomial(n, [wins, losses, 1 - discordance], size=1500)
    found = np.mean([mcnemar_exact(b, c) <= 0.05 for b, c, _ in draws])
    assert found == pytest.approx(0.79, abs=0.03)


@given(SIZES, SHARES)
def test_more_items_show_smaller_effects_and_more_discordance_hides_them(n, discordance):
    effect = minimum_detectable_effect(n, discordance)
    assert minimum_detectable_effect(n + 1, discordance) <= effect
    assert (effect == np.inf) == (effect > 1) == (n < 6)
    assert minimum_detectable_effect(n, discordance / 2) <= effect
    assert minimum_detectable_effect(n, discordance, power=0.9) >= effect


@pytest.mark.parametrize(("alpha", "discordant"), [(0.05, 6), (0.01, 8)])
def test_an_effect_beyond_the_discordance_takes_all_disagreement_one_way(alpha, discordant):
    effect = minimum_detectable_effect(20, 0.05, alpha=alpha)
    assert effect > 0.05
    assert binom.sf(discordant - 1, 20, effect) == pytest.approx(0.8)


@pytest.mark.parametrize("n", [50, 149, 150, 263, 1319])
@pytest.mark.parametrize("discordance", [0.02, 0.1, 0.2, 0.4])
def test_the_exact_test_finds_the_effect_about_as_often_as_promised_whatever_the_size(n, discordance):
    found = mcnemar_power(minimum_detectable_effect(n, discordance), n, discordance)
    assert 0.74 <= found <= 0.83


def test_fewer_items_than_the_exact_test_can_decide_on_see_nothing():
    assert [minimum_detectable_effect(n, 0.3) for n in (1, 5)] == [np.inf, np.inf]
    assert mcnemar_power(1, 5, 1) == 0
    assert mcnemar_power(1, 6, 1) == 1


@pytest.mark.parametrize(
    ("effect", "n", "discordance"), [(0.05, 40, 0.2), (-0.1, 60, 0.3), (0.0, 30, 0.5), (0.3, 25, 0.1)]
)
def test_the_power_of_the_exact_test_is_the_sum_over_all_outcomes(effect, n, discordance):
    share = max(discordance, abs(effect))
    sides = [(share + effect) / 2, (share - effect) / 2, 1 - share]
    b, c = np.divmod(np.arange((n + 1) ** 2), n + 1)
    b, c = b[b + c <= n], c[b + c <= n]
    chance = multinomial.pmf(np.column_stack([b, c, n - b - c]), n, sides)
    rejected = [mcnemar_exact(int(x), int(y)) <= 0.05 for x, y in zip(b, c, strict=True)]
    assert mcnemar_power(effect, n, discordance) == pytest.approx(chance @ rejected)


@pytest.mark.parametrize(("n", "power", "alpha"), [(3, 0.8, 0.05), (5, 0.9, 0.05), (40, 0.8, 0.01)])
def test_effects_that_t_detects_are_those_of_the_noncentral_distribution(n, power, alpha):
    exact = TTestPower().solve_power(nobs=n, power=power, alpha=alpha)
    assert minimum_detectable_t(1 / np.sqrt(n), n - 1, power, alpha) == pytest.approx(exact, rel=1e-4)
    assert minimum_detectable_with_seeds(n, 1.0, 0.0, power, alpha) == pytest.approx(exact, rel=1e-4)


def test_with_spread_over_items_alone_seeds_change_nothing():
    k = norm.ppf(0.975) + norm.ppf(0.8)
    assert [minimum_detectable_with_seeds(s, 0.0, 0.01) for s in (3, 30)] == pytest.approx([0.01 * k] * 2)
    assert minimum_detectable_with_seeds(3, 0.0) == 0


def test_seeds_needed_are_the_fewest_that_show_the_effect():
    for effect, sd, item_se in ((0.02, 0.012, 0.0), (-0.03, 0.02, 0.005)):
        seeds = seeds_needed(effect, sd, item_se)
        assert minimum_detectable_with_seeds(seeds, sd, item_se) <= abs(effect)
        assert minimum_detectable_with_seeds(seeds - 1, sd, item_se) > abs(effect)
    assert seeds_needed(0.5, 0.001) == 3


def test_no_number_of_seeds_shows_what_the_items_hide():
    assert seeds_needed(0.02, 0.0, item_se=0.01) is None
    assert seeds_needed(0.03, 0.001, item_se=0.01) is not None


def test_seeds_and_items_find_the_effect_about_as_often_as_promised():
    rng, seeds, sd, item_se = np.random.default_rng(5), 4, 0.02, 0.008
    effect = minimum_detectable_with_seeds(seeds, sd, item_se)
    values = effect + rng.normal(0, item_se, (4000, 1)) + rng.normal(0, sd, (4000, seeds))
    variances = item_se**2 + 0 * values[:, 0], values.var(axis=1, ddof=1) / seeds
    half = np.sqrt(norm.ppf(0.975) ** 2 * variances[0] + student.ppf(0.975, seeds - 1) ** 2 * variances[1])
    assert np.mean(values.mean(axis=1) > half) == pytest.approx(0.8, abs=0.05)


@given(st.floats(0.005, 0.9), SHARES)
def test_items_needed_is_the_fewest_that_detect_the_effect(effect, discordance):
    n = items_needed(effect, discordance)
    assert minimum_detectable_effect(n, discordance) <= effect * (1 + 1e-6)
    assert minimum_detectable_effect(n - 1, discordance) > effect * (1 - 1e-6)


def test_items_needed_for_known_effects():
    assert items_needed(0.0676, 0.10) == pytest.approx(164, abs=1)
    assert items_needed(-0.03, 0.10) == items_needed(0.03, 0.10) == 865


@pytest.mark.parametrize(("alpha", "discordant"), [(0.05, 6), (0.01, 8), (0.2, 4)])
def test_no_fewer_items_are_needed_than_the_exact_test_can_decide_on(alpha, discordant):
    assert items_needed(1.0, 1.0, alpha=alpha) == discordant
    assert mcnemar_exact(discordant, 0) <= alpha < mcnemar_exact(discordant - 1, 0)


@pytest.mark.parametrize(("effect", "discordance"), [(0.05, 0.1), (0.03, 0.3), (0.1, 0.4)])
def test_the_exact_test_finds_the_effect_on_the_items_needed_about_as_often_as_promised(effect, discordance):
    n = items_needed(effect, discordance)
    wins, losses = (discordance + effect) / 2, (discordance - effect) / 2
    draws = np.random.default_rng(3).multinomial(n, [wins, losses, 1 - discordance], size=1500)
    assert np.mean([mcnemar_exact(b, c) <= 0.05 for b, c, _ in draws]) == pytest.approx(0.78, abs=0.04)


@pytest.mark.parametrize(
    ("effect", "sd", "power", "alpha"), [(0.05, 0.3, 0.8, 0.05), (-2.0, 30, 0.9, 0.01), (0.4, 0.5, 0.8, 0.05)]
)
def test_items_needed_for_a_graded_mean_are_those_of_the_t_test_but_for_a_few(effect, sd, power, alpha):
    exact = TTestPower().solve_power(effect_size=abs(effect) / sd, power=power, alpha=alpha)
    assert 0 <= exact - items_needed_mean(effect, sd, power, alpha) < 5


def test_graded_means_are_found_on_the_items_needed_about_as_often_as_promised():
    n = items_needed_mean(0.05, sd=0.3)
    draws = np.random.default_rng(4).normal(0.05, 0.3, size=(2000, n))
    assert np.mean(ttest_1samp(draws, 0, axis=1).pvalue <= 0.05) == pytest.approx(0.8, abs=0.03)


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_items_needed_for_a_graded_mean_are_the_fewest_that_detect_it(effect, sd):
    n = items_needed_mean(effect, sd)
    assert minimum_detectable_mean(sd, n) <= effect * (1 + 1e-6)
    assert n == 2 or minimum_detectable_mean(sd, n - 1) > effect * (1 - 1e-6)


def test_graded_mean_is_detected_about_as_often_as_promised():
    effect = minimum_detectable_mean(sd=0.3, n=200)
    draws = np.random.default_rng(2).normal(effect, 0.3, size=(2000, 200))
    assert np.mean(ttest_1samp(draws, 0, axis=1).pvalue <= 0.05) == pytest.approx(0.8, abs=0.03)
    assert minimum_detectable_mean(sd=30, n=200) == pytest.approx(100 * effect)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: minimum_detectable_effect(0, 0.1), "n: got 0"),
        (lambda: minimum_detectable_effect(100, 10), "discordance: got 10"),
        (lambda: minimum_detectable_effect(100, 0.1, power=80), "power: got 80"),
        (lambda: minimum_detectable_effect(100, 0.1, alpha=0), "alpha: got 0"),
        (lambda: items_needed(0, 0.1), "effect: got 0"),
        (lambda: items_needed(3, 0.1), "effect: got 3"),
        (lambda: mcnemar_power(1.5, 10, 0.1), "effect: got 1.5"),
        (lambda: minimum_detectable_t(0.1, 0), "df: got 0"),
        (lambda: minimum_detectable_with_seeds(1, 0.1), "seeds: got 1"),
        (lambda: seeds_needed(0, 0.1), "effect: got 0"),
        (lambda: seeds_needed(0.1, -1), "sd: got -1"),
        (lambda: items_needed_mean(0, 0.1), "effect: got 0"),
        (lambda: items_needed_mean(0.1, -1), "sd: got -1"),
        (lambda: minimum_detectable_mean(-1, 10), "sd: got -1"),
        (lambda: minimum_detectable_mean(float("nan"), 10), "sd: got nan"),
    ],
)
def test_settings_that_make_no_sense_are_refused(call, reason):
    with pytest.raises(ValueError, match=reason):
        call()


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.01, 0.001])
def test_below_the_fewest_items_the_exact_test_finds_nothing_whatever_it_sees(alpha):
    least = fewest_items(alpha)
    assert mcnemar_exact(least, 0) <= alpha < mcnemar_exact(least - 1, 0)
    assert minimum_detectable_effect(least - 1, 1.0, alpha=alpha) == np.inf
    assert minimum_detectable_effect(least, 1.0, alpha=alpha) <= 1
