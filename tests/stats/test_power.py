"""Minimum detectable effects: the published figures, the equation they solve, and simulated power."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm, ttest_1samp
from statsmodels.stats.power import TTestPower

from tunelab.stats import (
    items_needed,
    items_needed_mean,
    mcnemar_exact,
    minimum_detectable_effect,
    minimum_detectable_mean,
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
    assert minimum_detectable_effect(n + 1, discordance) < effect < 1
    assert minimum_detectable_effect(n, discordance / 2) <= effect
    assert minimum_detectable_effect(n, discordance, power=0.9) > effect


def test_an_effect_beyond_the_discordance_takes_all_disagreement_one_way():
    n, effect = 20, minimum_detectable_effect(20, 0.05)
    assert effect > 0.05
    assert effect == pytest.approx(2.8016 * np.sqrt((effect - effect**2) / n), rel=1e-4)


@given(st.floats(0.005, 0.9), SHARES)
def test_items_needed_is_the_fewest_that_detect_the_effect(effect, discordance):
    n = items_needed(effect, discordance)
    assert minimum_detectable_effect(n, discordance) <= effect * (1 + 1e-6)
    fewer_hide_it = minimum_detectable_effect(max(n - 1, 1), discordance) > effect * (1 - 1e-6)
    assert fewer_hide_it or (n - 1) * max(discordance, effect) < 6


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
        (lambda: items_needed_mean(0, 0.1), "effect: got 0"),
        (lambda: items_needed_mean(0.1, -1), "sd: got -1"),
        (lambda: minimum_detectable_mean(-1, 10), "sd: got -1"),
        (lambda: minimum_detectable_mean(float("nan"), 10), "sd: got nan"),
    ],
)
def test_settings_that_make_no_sense_are_refused(call, reason):
    with pytest.raises(ValueError, match=reason):
        call()
