"""What the words promise, by simulation: 95 % intervals, 5 % error, 80 % power, over 2,000 studies a size.

A share of 0.95 over 2,000 studies has a standard error of 0.5 points, one of 0.80 of 0.9 points: an interval that
covers 93.0 to 97.0 % passes, an error of up to 5 % plus three standard errors (1.5 points) does. Every figure is
printed (``pytest -s``); docs/comparisons.md has them.
"""

from functools import cache

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss
from scipy.stats import binom

from tunelab.stats import (
    Verdict,
    clopper_pearson,
    corpus_interval,
    holm,
    mcnemar_exact,
    mean_t,
    minimum_detectable_effect,
    minimum_detectable_mean,
    minimum_detectable_t,
    minimum_detectable_with_seeds,
    paired_corpus_difference,
    paired_difference,
    seed_difference,
    seed_mean,
    verdict,
    wilson,
)

STUDIES = 2000
SIZES = (50, 263, 1319)
LOW, HIGH = 0.93, 0.97
ERROR = 0.05 + 3 * np.sqrt(0.05 * 0.95 / STUDIES)
sized = pytest.mark.parametrize("n", SIZES)


def told(what, n, share):
    """Print a figure and hand it on."""
    print(f"{what}, n = {n}: {100 * share:.1f} %")
    return share


def covers(found, truth):
    return found.low <= truth <= found.high


@cache
def proportions(n, make):
    """Lower and upper ends of the interval of each number of right answers; k wrong ones mirror k right ones."""
    half = np.array([[found.low, found.high] for found in (make(k, n) for k in range(n // 2 + 1))])
    return np.concatenate([half, 1 - half[(n - 1) // 2 :: -1, ::-1]]).T


def covered_rate(n, make, rates):
    """Exact chance that the interval of a proportion covers each true rate."""
    low, high = proportions(n, make)
    return np.array([binom.pmf(np.arange(n + 1), n, p) @ ((low <= p) & (p <= high)) for p in rates])


@sized
def test_wilson_covers_95_percent_on_average_over_the_rates(n):
    found = covered_rate(n, wilson, np.linspace(0.05, 0.95, 91))
    assert LOW <= told("Wilson, mean over rates of 0.05 to 0.95", n, found.mean()) <= HIGH
    assert told("Wilson, worst of these rates", n, found.min()) >= 0.90


@sized
def test_clopper_pearson_never_covers_less_than_95_percent(n):
    found = covered_rate(n, clopper_pearson, np.linspace(0.005, 0.995, 199))
    assert told("Clopper-Pearson, worst of rates of 0.005 to 0.995", n, found.min()) >= 0.95
    assert told("Clopper-Pearson, mean", n, found.mean()) <= 0.99


@sized
def test_t_covers_the_mean_of_a_graded_score(n):
    """F1-like scores: a third are 0, a third 1, the others between."""
    drawn = np.random.default_rng(1).beta(0.4, 0.3, (STUDIES, n))
    found = np.mean([covers(mean_t(scores), 0.4 / 0.7) for scores in drawn])
    assert LOW <= told("t of a mean", n, found) <= HIGH


def passages(rng, n):
    """Clusters of two to eight items, as questions on a passage."""
    sizes = rng.integers(2, 9, n)
    return np.repeat(np.arange(n), sizes)[:n]


@sized
def test_clustered_errors_cover_the_mean_where_plain_ones_do_not(n):
    rng, clustered, plain = np.random.default_rng(2), 0, 0
    for _ in range(STUDIES):
        groups = passages(rng, n)
        scores = 0.5 + rng.normal(0, 0.2, groups[-1] + 1)[groups] + rng.normal(0, 0.2, n)
        clustered += covers(mean_t(scores, groups), 0.5)
        plain += covers(mean_t(scores), 0.5)
    assert LOW <= told("clustered t of a mean", n, clustered / STUDIES) <= HIGH
    assert told("plain t on the same clustered items", n, plain / STUDIES) < 0.85


def outcomes(rng, n, discordance, effect, studies=STUDIES):
    """Items that only the first, only the second and both or neither got right, shape (studies, 3)."""
    sides = [(discordance + effect) / 2, (discordance - effect) / 2, 1 - discordance]
    return rng.multinomial(n, sides, size=studies)


@cache
def difference_of(b, c, n):
    """The paired difference of n items with b and c discordant ones."""
    scores = np.zeros((2, n))
    scores[0, :b], scores[1, b : b + c] = 1, 1
    return paired_difference(*scores)


@sized
@pytest.mark.parametrize("discordance", [0.1, 0.2, 0.3])
def test_the_paired_difference_of_right_and_wrong_is_covered(n, discordance):
    effect, rng = discordance / 4, np.random.default_rng(3)
    found = [difference_of(int(b), int(c), n) for b, c, _ in outcomes(rng, n, discordance, effect)]
    share = np.mean([covers(row, effect) for row in found])
    assert LOW <= told(f"paired difference, {discordance:.0%} discordant", n, share) <= HIGH


@sized
def test_the_paired_difference_of_graded_scores_is_covered(n):
    rng = np.random.default_rng(4)
    base = rng.beta(0.4, 0.3, (STUDIES, n))
    moved = np.where(rng.random((STUDIES, n)) < 0.3, rng.beta(0.8, 0.4, (STUDIES, n)), base)
    truth = 0.3 * (0.8 / 1.2 - 0.4 / 0.7)
    found = np.mean([covers(paired_difference(a, b), truth) for a, b in zip(moved, base, strict=True)])
    assert LOW <= told("paired difference of graded scores", n, found) <= HIGH


def f1(sums):
    return 2 * sums[0] / (sums[1] + sums[2]) if sums[1] + sums[2] else 0.0


def guesses(rng, n, right):
    """What draws the parts of F1 of n items, 0.4 of them positive, each guessed right with probability ``right``."""
    actual = rng.random(n) < 0.4
    return lambda: _parts(actual, actual ^ (rng.random(n) >= right))


def _parts(actual, said):
    return np.stack([said & actual, said, actual], axis=1).astype(float)


def true_f1(right):
    hits, said = 0.4 * right, 0.4 * right + 0.6 * (1 - right)
    return 2 * hits / (said + 0.4)


@sized
def test_the_bootstrap_covers_a_corpus_metric_and_a_difference_of_two(n):
    """150 replicates in place of 2,000."""
    rng, single, paired = np.random.default_rng(5), 0, 0
    for i in range(STUDIES):
        draw = guesses(rng, n, 0.8)
        one, other = draw(), draw()
        single += covers(corpus_interval(one, f1, seed=i, replicates=150), true_f1(0.8))
        paired += covers(paired_corpus_difference(one, other, f1, seed=i, replicates=150), 0)
    assert LOW <= told("bootstrap of F1", n, single / STUDIES) <= HIGH
    assert LOW <= told("bootstrap of a difference of F1", n, paired / STUDIES) <= HIGH


NODES, WEIGHTS = hermegauss(60)
ABILITY, DIFFICULTY = 1.0, 2.5


def expected_score(shift, seed_sd):
    """Expected share right: items' difficulties and seeds' shifts are normal, on the scale of log odds."""
    odds = ABILITY + shift + np.hypot(DIFFICULTY, seed_sd) * NODES
    return float(WEIGHTS @ (1 / (1 + np.exp(-odds))) / WEIGHTS.sum())


def answered(rng, difficulty, seeds, shift, seed_sd):
    """Right or wrong by seed and item: what one seed gets right on one item is luck beside skill and difficulty."""
    odds = ABILITY + shift + difficulty + rng.normal(0, seed_sd, (seeds, 1))
    return (rng.random((seeds, len(difficulty))) < 1 / (1 + np.exp(-odds))).astype(float)


@sized
@pytest.mark.parametrize("seed_sd", [0.0, 0.3])
def test_three_seeds_cover_the_recipe_and_its_difference_from_a_checkpoint(n, seed_sd):
    """Seeds alike, and apart by 3 points; 100 replicates in place of 2,000."""
    rng, mean, difference = np.random.default_rng(6), 0, 0
    truth = expected_score(0.3, seed_sd)
    for i in range(STUDIES):
        difficulty = rng.normal(0, DIFFICULTY, n)
        base, tuned = answered(rng, difficulty, 1, 0, 0), answered(rng, difficulty, 3, 0.3, seed_sd)
        mean += covers(seed_mean(tuned, seed=i, replicates=100), truth)
        difference += covers(seed_difference(tuned, base, seed=i, replicates=100), truth - expected_score(0, 0))
    apart = f"three seeds {seed_sd} apart in log odds"
    assert LOW <= told(f"{apart}, mean", n, mean / STUDIES) <= HIGH
    assert LOW <= told(f"{apart}, difference from a checkpoint", n, difference / STUDIES) <= HIGH


@sized
def test_two_recipes_that_are_equal_are_called_different_in_5_percent_at_most(n):
    rng, found = np.random.default_rng(7), 0
    for i in range(STUDIES):
        difficulty = rng.normal(0, DIFFICULTY, n)
        one, other = (answered(rng, difficulty, 3, 0, 0.2) for _ in range(2))
        row = seed_difference(one, other, seed=i, replicates=100)
        found += verdict(row.value, row.p_value) is not Verdict.UNDECIDED
    assert told("error of a verdict on recipes, three seeds each", n, found / STUDIES) <= ERROR


@sized
@pytest.mark.parametrize("discordance", [0.1, 0.3])
def test_equal_variants_are_called_different_in_5_percent_at_most(n, discordance):
    rng = np.random.default_rng(8)
    found = [difference_of(int(b), int(c), n) for b, c, _ in outcomes(rng, n, discordance, 0)]
    share = np.mean([verdict(row.difference, row.p_value) is not Verdict.UNDECIDED for row in found])
    assert told(f"error of a verdict, {discordance:.0%} discordant", n, share) <= ERROR


@sized
def test_clustered_variants_that_are_equal_are_called_different_in_5_percent_at_most(n):
    rng, found = np.random.default_rng(9), 0
    for _ in range(STUDIES):
        groups = passages(rng, n)
        moved = rng.normal(0, 0.1, groups[-1] + 1)[groups] + rng.normal(0, 0.3, n)
        row = paired_difference(0.5 + moved, np.full(n, 0.5), groups)
        found += verdict(row.difference, row.p_value) is not Verdict.UNDECIDED
    assert told("error of a clustered verdict", n, found / STUDIES) <= ERROR


@sized
def test_any_false_verdict_among_six_that_share_a_baseline_comes_in_5_percent_of_studies_at_most(n):
    """Six variants as good as the base, right on the same items but for a tenth; then McNemar, Holm, verdict."""
    rng, any_plain, any_holm = np.random.default_rng(10), 0, 0
    for _ in range(STUDIES):
        base = rng.random(n) < 0.6
        flips = rng.random((6, n)) < np.where(base, 0.1, 0.15)  # as many lose as gain
        gained, lost = (flips & ~base).sum(axis=1), (flips & base).sum(axis=1)
        p = [_mcnemar(int(b), int(c)) for b, c in zip(gained, lost, strict=True)]
        any_plain += min(p) <= 0.05
        any_holm += any(verdict(1, float(q)) is not Verdict.UNDECIDED for q in holm(p))
    family = any_holm / STUDIES
    assert told("any false verdict of six, Holm", n, family) <= ERROR
    assert told("any false verdict of six, uncorrected", n, any_plain / STUDIES) > max(family, 0.09 if n > 50 else 0)


_mcnemar = cache(mcnemar_exact)


@sized
@pytest.mark.parametrize("discordance", [0.1, 0.3])
def test_the_minimum_detectable_effect_is_found_in_80_percent(n, discordance):
    effect = minimum_detectable_effect(n, discordance)
    drawn = outcomes(np.random.default_rng(11), n, max(discordance, effect), effect)
    found = [difference_of(int(b), int(c), n) for b, c, _ in drawn]
    share = np.mean([verdict(row.difference, row.p_value) is Verdict.BETTER for row in found])
    assert 0.74 <= told(f"power at the detectable effect, {discordance:.0%} discordant", n, share) <= 0.86


@sized
def test_the_minimum_detectable_mean_is_found_in_80_percent(n):
    effect = minimum_detectable_mean(0.3, n)
    drawn = np.random.default_rng(12).normal(effect, 0.3, (STUDIES, n))
    found = [paired_difference(values, np.zeros(n)) for values in drawn]
    share = np.mean([verdict(row.difference, row.p_value) is Verdict.BETTER for row in found])
    assert 0.76 <= told("power at the detectable mean", n, share) <= 0.86


@pytest.mark.parametrize("clusters", [6, 40])
def test_with_few_clusters_the_minimum_detectable_effect_is_found_in_80_percent(clusters):
    groups = np.repeat(np.arange(clusters), 5)
    effect = minimum_detectable_t(0.3 / np.sqrt(clusters), clusters - 1)
    drawn = np.random.default_rng(13).normal(effect, 0.3, (STUDIES, clusters))[:, groups]
    found = [paired_difference(values, np.zeros(len(groups)), groups) for values in drawn]
    share = np.mean([verdict(row.difference, row.p_value) is Verdict.BETTER for row in found])
    assert 0.76 <= told("power with clusters", clusters, share) <= 0.86


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_minimum_detectable_effect_of_seeds_is_found_in_80_percent(seeds):
    """Graded scores of 263 items: seeds 2 points apart, items 0.15 apart from the base's."""
    n, seed_sd, item_sd = 263, 0.02, 0.15
    effect = minimum_detectable_with_seeds(seeds, seed_sd, item_sd / np.sqrt(n))
    rng, found = np.random.default_rng(14), 0
    for i in range(STUDIES):
        base = rng.uniform(0.3, 0.7, (1, n))
        tuned = base + effect + rng.normal(0, item_sd, (1, n)) + rng.normal(0, seed_sd, (seeds, 1))
        row = seed_difference(tuned, base, seed=i, replicates=100)
        found += verdict(row.value, row.p_value) is Verdict.BETTER
    assert 0.74 <= told(f"power at the detectable effect of {seeds} seeds", n, found / STUDIES) <= 0.86
