"""The bootstrap, against the standard errors that are known in closed form."""

import numpy as np
import pytest
from scipy.stats import t

from tunelab.stats import bootstrap_difference, bootstrap_statistic, mean_t, paired_difference

A, B = np.random.default_rng(1).uniform(size=(2, 150))
GROUPS = np.repeat(np.arange(30), 5)


def test_standard_error_of_a_mean_is_the_known_one():
    interval = bootstrap_statistic(lambda i: A[i].mean(), 150, seed=0, replicates=2000)
    assert interval.value == pytest.approx(A.mean())
    assert interval.se == pytest.approx(mean_t(A).se, rel=0.06)
    assert interval.n == 150


def test_interval_is_the_estimate_and_t_standard_errors():
    interval = bootstrap_statistic(lambda i: np.median(A[i]), 150, seed=0, replicates=200)
    half = t.ppf(0.975, 149) * interval.se
    assert (interval.low, interval.high) == pytest.approx((interval.value - half, interval.value + half))


def test_drawing_whole_clusters_gives_the_clustered_error():
    shared = np.random.default_rng(2).normal(size=30)[GROUPS] + A
    clustered = bootstrap_statistic(lambda i: shared[i].mean(), 150, 0, replicates=2000, clusters=GROUPS)
    assert clustered.se == pytest.approx(mean_t(shared, GROUPS).se, rel=0.07)
    assert clustered.se > 1.5 * mean_t(shared).se


def test_scattered_clusters_are_drawn_whole():
    labels, seen = np.array(["x", "y", "x", "z", "y"]), []
    bootstrap_statistic(lambda i: float(len(seen.append(i) or i)), 5, seed=0, replicates=30, clusters=labels)
    for indices in seen:
        counts = np.bincount(indices, minlength=5)
        assert counts[0] == counts[2]
        assert counts[1] == counts[4]
        assert len(np.unique(labels[indices])) <= 3


def test_the_same_seed_gives_the_same_interval_and_another_does_not():
    first, again, other = (bootstrap_statistic(lambda i: A[i].mean(), 150, seed, 50) for seed in (3, 3, 4))
    assert first == again
    assert first.se != other.se


def test_a_difference_keeps_the_pairing():
    harder = A - 0.01 * B
    result = bootstrap_difference(lambda i: A[i].mean() - harder[i].mean(), 150, seed=0, replicates=2000)
    expected = paired_difference(A, harder)
    assert (result.value, result.se) == pytest.approx((expected.difference, expected.se), rel=0.07)
    assert result.p_value < 1e-9


def test_p_value_of_a_difference_is_that_of_t():
    result = bootstrap_difference(lambda i: A[i].mean() - B[i].mean(), 150, seed=0, replicates=200)
    assert result.p_value == pytest.approx(2 * t.sf(abs(result.value) / result.se, 149))
    assert (result.df, result.test) == (149, "bootstrap_t")


def test_identical_outputs_differ_by_nothing_with_p_one():
    result = bootstrap_difference(lambda i: A[i].mean() - A[i].mean(), 12, seed=0, replicates=20)
    assert (result.value, result.p_value, result.se, result.test) == (0.0, 1.0, 0.0, "sign_exact")
    assert result.low < 0 < result.high


def test_a_perfect_score_on_few_items_is_not_certain():
    interval = bootstrap_statistic(lambda i: 1.0, 8, seed=0, replicates=20)
    assert (interval.low, interval.high) == pytest.approx((0.025 ** (1 / 8), 1.0))


def test_a_metric_that_is_undefined_on_some_draw_is_refused():
    with pytest.raises(ValueError, match=r"statistic: got nan on replicate \d+"):
        bootstrap_statistic(lambda i: np.nan if 0 not in i else 1.0, 4, seed=0, replicates=200)


@pytest.mark.parametrize(("n_items", "replicates"), [(0, 100), (5, 1)])
def test_too_few_items_or_replicates_are_refused(n_items, replicates):
    with pytest.raises(ValueError, match="expected at least"):
        bootstrap_statistic(lambda i: 0.0, n_items, seed=0, replicates=replicates)
