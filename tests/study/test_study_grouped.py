"""Subjects before and after, languages side by side, letters: against scipy, statsmodels and pandas."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, t, ttest_rel
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.contingency_tables import mcnemar

from tunelab.scoring.aggregate import summarise
from tunelab.scoring.score import Metric, Outcome, Score
from tunelab.stats import shrunken_means
from tunelab.study.comparison import compare
from tunelab.study.grouped import changes_by_group, confusion, groups_side_by_side
from tunelab.study.scored import Answer, Scored

QUESTIONS, SUBJECTS, LANGUAGES = 120, ["anatomy", "law", "physics", "virology"], ["de", "fr"]
RATES = {"anatomy": 0.2, "law": 0.5, "physics": 0.5, "virology": 0.9}


def asked(rates, seed, languages=LANGUAGES):
    """A frame of questions, by language, with a subject and whether they were answered rightly."""
    rng = np.random.default_rng(seed)
    rows = []
    for question in range(QUESTIONS):
        subject = SUBJECTS[question % len(SUBJECTS)]
        ease = rng.random()
        for language in languages:
            right = float((ease + rng.random()) / 2 < rates[subject])
            rows.append((f"{question}-{language}", str(question), subject, language, right))
    return pd.DataFrame(rows, columns=["item", "question", "subject", "language", "right"])


def as_scored(frame, name="sft/x", metric=None, **more):
    metric = metric or Metric("accuracy")
    scores = {
        row.item: [Score(Outcome.CORRECT if row.right else Outcome.WRONG, {"accuracy": row.right}, parts=parts(row))]
        if row.right == row.right
        else [Score(Outcome.UNSCORED)]
        for row in frame.itertuples()
    }
    groups = {by: dict(zip(frame["item"], frame[by], strict=True)) for by in ("subject", "language")}
    clusters = dict(zip(frame["item"], frame["question"], strict=True))
    cell = {"cell": name, "task": "t", "baseline": "base/x" if name != "base/x" else None, "matched": True,
            "factors": {"method": None}}  # fmt: skip
    return Scored(cell, scores, summarise(scores, [metric], clusters, groups), "v1", clusters, metric, groups, **more)


def parts(row):
    return {"accuracy": (row.right, 1.0)}


@pytest.fixture
def base():
    return asked(dict.fromkeys(SUBJECTS, 0.5), seed=0)


@pytest.fixture
def tuned():
    return asked(RATES, seed=1)


def test_the_change_of_each_subject_is_a_regression_with_clustered_errors(base, tuned):
    rows = {r["group"]: r for r in changes_by_group(as_scored(tuned), as_scored(base, "base/x"), 0.05)
            if r["by"] == "subject"}  # fmt: skip
    assert list(rows) == SUBJECTS
    for subject, row in rows.items():
        of = tuned["subject"] == subject
        change = (tuned["right"] - base["right"])[of].to_numpy()
        codes = tuned["question"][of].astype(int).to_numpy()
        units = len(set(codes))
        clustered = {"groups": codes, "use_correction": False, "df_correction": True}
        fitted = OLS(change, np.ones(len(change))).fit(cov_type="cluster", cov_kwds=clustered, use_t=True)
        se = fitted.bse[0] * np.sqrt(units / (units - 1))
        assert row["difference"] == pytest.approx(change.mean())
        assert (row["high"] - row["low"]) / 2 == pytest.approx(se * t.ppf(0.975, units - 1), rel=1e-6)
        assert (row["test"], row["n"]) == ("clustered_t", of.sum())


def test_which_subjects_gained_or_lost_is_decided_within_the_cells_grouping(base, tuned):
    rows = changes_by_group(as_scored(tuned), as_scored(base, "base/x"), 0.05)
    for by in ("subject", "language"):
        family = [row for row in rows if row["by"] == by]
        expected = false_discovery_control([row["p_value"] for row in family])
        assert [row["p_adjusted"] for row in family] == pytest.approx(expected)
    found = {row["group"]: row["verdict"] for row in rows if row["by"] == "subject"}
    assert (found["anatomy"], found["virology"]) == ("worse", "better")


def test_without_shared_questions_a_subjects_change_is_tested_by_mcnemar(base, tuned):
    base, tuned = (frame[frame["language"] == "de"].reset_index(drop=True) for frame in (base, tuned))
    rows = changes_by_group(as_scored(tuned), as_scored(base, "base/x"), 0.05)
    assert {row["by"] for row in rows} == {"subject"}, "one language says what the whole says"
    for row in rows:
        of = tuned["subject"] == row["group"]
        table = pd.crosstab(tuned["right"][of], base["right"][of]).reindex(index=[0, 1], columns=[0, 1], fill_value=0)
        assert row["p_value"] == pytest.approx(mcnemar(table, exact=True).pvalue)


def test_a_subject_that_one_side_has_no_score_in_has_no_row(base, tuned):
    tuned.loc[tuned["subject"] == "law", "right"] = np.nan
    rows = changes_by_group(as_scored(tuned), as_scored(base, "base/x"), 0.05)
    assert [row["group"] for row in rows if row["by"] == "subject"] == ["anatomy", "physics", "virology"]


def test_two_languages_are_compared_over_the_same_questions(tuned):
    tuned = tuned.drop(tuned.index[[3, 10]])
    [row] = groups_side_by_side(as_scored(tuned), 0.05)
    wide = tuned.pivot_table(index="question", columns="language", values="right").dropna()
    assert (row["by"], row["group"], row["other"], row["n"]) == ("language", "de", "fr", QUESTIONS - 2)
    assert row["difference"] == pytest.approx((wide["de"] - wide["fr"]).mean())
    low, high = ttest_rel(wide["de"], wide["fr"]).confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert row["p_value"] == pytest.approx(mcnemar(pd.crosstab(wide["de"], wide["fr"]), exact=True).pvalue)


def test_every_two_languages_are_a_pair_and_all_pairs_one_family():
    rows = groups_side_by_side(as_scored(asked(RATES, 3, ["de", "fr", "ja"])), 0.05)
    assert [(row["group"], row["other"]) for row in rows] == [("de", "fr"), ("de", "ja"), ("fr", "ja")]
    expected = false_discovery_control([row["p_value"] for row in rows])
    assert [row["p_adjusted"] for row in rows] == pytest.approx(expected)


def test_groups_that_share_less_than_half_of_the_smaller_ones_questions_are_no_pair(tuned):
    few = set(tuned["question"][tuned["question"].astype(int) < 50])
    alone = (tuned["language"] == "de") & ~tuned["question"].isin(few)
    tuned.loc[alone, "question"] = "another " + tuned["question"]
    assert groups_side_by_side(as_scored(tuned), 0.05) == []


def test_a_corpus_metric_changes_as_a_whole_and_is_neither_shrunken_nor_put_side_by_side(base, tuned):
    metric = Metric("accuracy", binary=False, total=lambda sums: sums[0] / sums[1])
    one, other = as_scored(tuned, metric=metric), as_scored(base, "base/x", metric=metric)
    rows = [row for row in changes_by_group(one, other, 0.05) if row["by"] == "subject"]
    means = tuned.groupby("subject")["right"].mean() - base.groupby("subject")["right"].mean()
    assert [row["difference"] for row in rows] == pytest.approx(means.tolist())
    assert {row["test"] for row in rows} == {"bootstrap_t"}
    assert groups_side_by_side(one, 0.05) == []
    [cell] = compare({"sft/x": one}, 0.05)["cells"]
    assert not any("shrunken" in group for group in cell["groups"]["subject"].values())


def test_the_comparison_has_shrunken_scores_beside_the_plain_ones(tuned):
    [cell] = compare({"sft/x": as_scored(tuned)}, 0.05)["cells"]
    found = [group["shrunken"] for group in cell["groups"]["subject"].values()]
    assert found == pytest.approx(shrunken_means(tuned["right"], tuned["subject"], tuned["question"]))
    mean = tuned["right"].mean()
    for (subject, plain), kept in zip(tuned.groupby("subject")["right"].mean().items(), found, strict=True):
        assert abs(kept - mean) < abs(plain - mean), subject
    assert not any("shrunken" in group for group in cell["groups"]["language"].values()), "two are too few"


def test_cells_that_are_not_compared_have_no_changes(base, tuned):
    other = as_scored(base.iloc[:-2], "base/x")
    result = compare({"base/x": other, "sft/x": as_scored(tuned)}, 0.05)
    assert "refused" in result["comparisons"][0]
    assert result["group_changes"] == []


def test_a_confusion_matrix_is_the_cross_table_with_the_outputs_without_an_answer():
    rng = np.random.default_rng(4)
    gold, given = rng.choice(list("ABCD"), 200), rng.choice([*"ABCE", None], 200)
    answers = [Answer(right, taken) for right, taken in zip(gold, given, strict=True)]
    found = confusion(as_scored(asked(RATES, 1), answers=answers))
    table = pd.crosstab(gold, pd.Series(given).fillna("none")).reindex(columns=[*"ABCDE", "none"], fill_value=0)
    assert (found["gold"], found["answered"]) == (list("ABCD"), list("ABCDE"))
    assert found["counts"] == table[list("ABCDE")].to_numpy().tolist()
    assert found["no_answer"] == table["none"].tolist()


def test_a_task_without_groups_and_choices_adds_nothing():
    scores = {f"q{i}": [Score(Outcome.CORRECT, {"accuracy": 1.0})] for i in range(5)}
    cell = {"cell": "base/x", "task": "t", "baseline": None, "matched": True, "factors": {"method": None}}
    result = compare({"base/x": Scored(cell, scores, summarise(scores, [Metric("accuracy")]), "v1")}, 0.05)
    assert (result["group_changes"], result["group_pairs"], result["confusions"]) == ([], [], [])
    assert "groups" not in result["cells"][0]
