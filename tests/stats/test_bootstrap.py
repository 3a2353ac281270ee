"""The bootstrap, against the standard errors that are known in closed form."""

import time

import numpy as np
import pytest
from scipy.stats import t

from tunelab.stats import (
    bootstrap_difference,
    bootstrap_statistic,
    corpus_interval,
    mean_t,
    paired_corpus_difference,
    paired_difference,
)

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


def as_parts(scores):
    """A mean as a corpus metric: what is summed, and how many."""
    return np.stack([scores, np.ones_like(scores)], axis=1)


def mean_of(sums):
    return sums[0] / sums[1]


def f1(sums):
    """F1 from true positives, and positives that were said and that there are."""
    return 2 * sums[0] / (sums[1] + sums[2]) if sums[1] + sums[2] else 0.0


def counts(predicted, actual):
    return np.stack([predicted & actual, predicted, actual], axis=1).astype(float)


@pytest.mark.parametrize("clusters", [None, GROUPS])
def test_the_interval_of_a_mean_by_parts_is_that_of_t(clusters):
    scores = A if clusters is None else A + np.random.default_rng(2).normal(size=30)[GROUPS]
    found, expected = corpus_interval(as_parts(scores), mean_of, clusters), mean_t(scores, clusters)
    assert (found.value, found.n) == (pytest.approx(expected.value), 150)
    assert found.se == pytest.approx(expected.se, rel=0.05)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.1 * expected.se)


@pytest.mark.parametrize("clusters", [None, GROUPS])
def test_the_difference_of_means_by_parts_is_the_paired_t_test(clusters):
    harder = A - 0.3 * (B - 0.5)
    found = paired_corpus_difference(as_parts(A), as_parts(harder), mean_of, clusters)
    expected = paired_difference(A, harder, clusters)
    assert (found.value, found.df) == (pytest.approx(expected.difference), expected.df)
    assert found.se == pytest.approx(expected.se, rel=0.05)
    assert found.p_value == pytest.approx(expected.p_value, abs=0.05)
    assert found.test == "bootstrap_t"


def test_few_clusters_are_corrected_like_the_clustered_mean():
    few = np.arange(4).repeat(10)
    scores = np.random.default_rng(5).normal(size=4)[few]
    found = corpus_interval(as_parts(scores), mean_of, few, replicates=20_000)
    assert found.se == pytest.approx(mean_t(scores, few).se, rel=0.03)


def test_a_metric_by_parts_and_by_items_have_the_same_error():
    predicted, actual = np.random.default_rng(3).random((2, 300)) < np.array([[0.4], [0.3]])
    parts = counts(predicted, actual)
    by_items = bootstrap_statistic(lambda i: f1(parts[i].sum(axis=0)), 300, seed=1, replicates=2000)
    by_parts = corpus_interval(parts, f1)
    assert by_parts.value == by_items.value
    assert by_parts.se == pytest.approx(by_items.se, rel=0.06)


def test_intervals_of_a_corpus_metric_cover_the_truth():
    rng, covered = np.random.default_rng(6), 0
    for _ in range(200):
        actual = rng.random(150) < 0.4
        interval = corpus_interval(counts(actual ^ (rng.random(150) < 0.2), actual), f1, replicates=300)
        covered += interval.low <= 2 * 0.32 / (0.44 + 0.4) <= interval.high
    assert covered / 200 == pytest.approx(0.95, abs=0.04)


def test_drawing_in_several_arrays_changes_nothing(monkeypatch):
    whole = corpus_interval(as_parts(A), mean_of, replicates=50)
    monkeypatch.setattr("tunelab.stats.bootstrap.DRAWN_AT_ONCE", 1000)
    parts = corpus_interval(as_parts(A), mean_of, replicates=50)
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high))


def test_equal_parts_differ_by_nothing_with_p_one():
    result = paired_corpus_difference(as_parts(A), as_parts(A), mean_of, replicates=50)
    assert (result.value, result.p_value, result.test) == (0.0, 1.0, "sign_exact")
    assert result.low < 0 < result.high


def test_a_seed_repeats_a_corpus_interval():
    first, again, other = (corpus_interval(as_parts(A), mean_of, seed=s, replicates=50) for s in (3, 3, 4))
    assert first == again
    assert first.se != other.se


def test_two_thousand_replicates_of_two_thousand_items_take_less_than_a_second():
    parts = np.random.default_rng(7).random((2000, 10))
    start = time.process_time()
    corpus_interval(parts, mean_of)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: corpus_interval(A, mean_of), "parts: got 1 axes"),
        (lambda: corpus_interval(as_parts(A), mean_of, GROUPS[:9]), "clusters: got shape"),
        (lambda: corpus_interval(as_parts(A), mean_of, replicates=1), "replicates: got 1"),
        (lambda: corpus_interval(np.eye(4), lambda s: float("nan")), "statistic: got nan on all items"),
        (lambda: paired_corpus_difference(np.eye(4), np.eye(3), mean_of), r"paired parts: got shapes \(4, 4\)"),
    ],
)
def test_parts_that_make_no_metric_are_refused(call, reason):
    with pytest.raises(ValueError, match=reason):
        call()
