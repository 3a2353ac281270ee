"""Shrunken means, against a mixed model by REML, the analysis of variance and what is known of the truth."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import f_oneway
from statsmodels.regression.mixed_linear_model import MixedLM

from tunelab.stats import shrunken_means


def drawn(sizes, between=1.0, seed=0):
    """True means, values and labels of groups of such sizes; items differ by one within a group."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, between, len(sizes))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return truth, truth[labels] + rng.normal(0, 1, len(labels)), labels


def test_groups_of_equal_size_get_the_predictions_of_a_mixed_model():
    _, values, labels = drawn([8] * 12)
    fitted = MixedLM.from_formula("y ~ 1", pd.DataFrame({"y": values, "g": labels}), groups="g").fit(reml=True)
    predicted = [fitted.fe_params["Intercept"] + effect.iloc[0] for effect in fitted.random_effects.values()]
    assert shrunken_means(values, labels) == pytest.approx(predicted, abs=1e-4)


def test_what_is_kept_of_a_distance_follows_from_the_f_statistic():
    sizes = np.array([3, 5, 9, 20, 40])
    _, values, labels = drawn(sizes, seed=1)
    parts = [values[labels == g] for g in range(len(sizes))]
    f = f_oneway(*parts).statistic
    typical = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (len(sizes) - 1)
    ratio = (f - 1) / typical
    kept = sizes * ratio / (sizes * ratio + 1)
    expected = [values.mean() + k * (part.mean() - values.mean()) for k, part in zip(kept, parts, strict=True)]
    assert f > 1
    assert shrunken_means(values, labels) == pytest.approx(expected)


def test_groups_that_differ_no_more_than_chance_makes_them_get_the_mean_of_all():
    values = [0, 1, 0, 1, 0, 1, 0, 1]
    assert shrunken_means(values, [0, 0, 1, 1, 2, 2, 3, 3]) == pytest.approx([0.5] * 4)
    assert shrunken_means([1] * 8, [0, 0, 1, 1, 2, 2, 3, 3]) == pytest.approx([1] * 4)


def test_groups_without_spread_keep_their_own_means():
    assert shrunken_means([0, 0, 1, 1, 0, 0, 1, 1], [0, 0, 1, 1, 2, 2, 3, 3]) == pytest.approx([0, 1, 0, 1])


def test_shrunken_means_lie_nearer_to_the_truth():
    errors = []
    for seed in range(50):
        truth, values, labels = drawn([4] * 30, between=0.5, seed=seed)
        plain = np.bincount(labels, weights=values) / 4
        errors.append([np.mean((plain - truth) ** 2), np.mean((shrunken_means(values, labels) - truth) ** 2)])
    plain, shrunken = np.mean(errors, axis=0)
    assert shrunken < 0.7 * plain


def test_the_same_question_asked_twice_is_no_second_piece_of_evidence():
    _, values, labels = drawn([6] * 8, seed=2)
    questions = np.arange(len(values))
    twice, groups = np.concatenate([values, values]), np.concatenate([labels, labels])
    grouped = shrunken_means(twice, groups, np.concatenate([questions, questions]))
    assert grouped == pytest.approx(shrunken_means(values, labels))
    assert shrunken_means(twice, groups) != pytest.approx(grouped)


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [0, 1, 2, 3, 4, 5]], ids=["three groups", "single items"])
def test_too_little_to_tell_the_variances_by_gives_nothing(labels):
    assert shrunken_means([0, 1, 0, 1, 1, 1], labels) is None


def test_labels_of_another_length_are_refused():
    with pytest.raises(ValueError, match="expected \\(3,\\), one label per item"):
        shrunken_means([0, 1, 1], [0, 1])
