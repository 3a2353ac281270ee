"""Averages over a tree of tasks: by hand on synthetic cells."""

import numpy as np
import pytest
from scipy.stats import norm

from tunelab.data.mixtures import Mixture
from tunelab.scoring.aggregate import summarise
from tunelab.scoring.score import Metric, Outcome, Score
from tunelab.study.averages import averages
from tunelab.study.scored import Scored
from tunelab.study.tree import places, weights

TREE = {"similar": ["sst2", "mnli"], "dissimilar": {"qa": ["squad"]}}


def cell(variant, evaluation, task, values, scale=1.0, scorer="v1", by="generate"):
    metric = Metric("m", binary=False, scale=scale)
    scores = {f"q{i}": [Score(Outcome.WRONG, {"m": float(v) * scale})] for i, v in enumerate(values)}
    described = {
        "cell": f"{variant}/{evaluation}",
        "variant": variant,
        "evaluation": evaluation,
        "task": task,
        "baseline": None if variant == "base" else f"base/{evaluation}",
        "factors": {"eval_format": "raw"},
        "by": by,
    }
    return Scored(described, scores, summarise(scores, [metric]), scorer, metric=metric)


def draws(seed, n, p):
    return (np.random.default_rng(seed).random(n) < p).astype(float)


BASE = {
    "sst2": draws(0, 200, 0.5),
    "mnli_m": draws(1, 100, 0.4),
    "mnli_mm": draws(2, 100, 0.3),
    "squad": draws(3, 80, 0.2),
}
TUNED = {
    "sst2": draws(4, 200, 0.8),
    "mnli_m": draws(5, 100, 0.6),
    "mnli_mm": draws(6, 100, 0.5),
    "squad": draws(7, 80, 0.3),
}
TASKS = {"sst2": "sst2", "mnli_m": "mnli", "mnli_mm": "mnli", "squad": "squad"}


def tabulated(left_out=(), scale=1.0):
    holes = [cell(*path.split("/"), TASKS[path.split("/")[1]], [1]).cell for path in left_out]
    found = [
        cell(variant, name, TASKS[name], values, scale if name == "squad" else 1.0)
        for variant, table in (("base", BASE), ("tuned", TUNED))
        for name, values in table.items()
        if f"{variant}/{name}" not in left_out
    ]
    rows = averages({s.cell["cell"]: s for s in found}, TREE, 0.05, holes)
    return {("/".join(row["node"]), row["variant"]): row for row in rows}


def test_the_tree_is_walked_from_the_root():
    assert ["/".join(path) for path, _ in places(TREE)] == [
        "", "similar", "similar/sst2", "similar/mnli", "dissimilar", "dissimilar/qa", "dissimilar/qa/squad",
    ]  # fmt: skip


def test_a_node_is_the_mean_of_its_tasks_and_a_task_the_mean_of_its_evaluations():
    table = tabulated()
    mnli = (TUNED["mnli_m"].mean() + TUNED["mnli_mm"].mean()) / 2
    assert table["similar/mnli", "tuned"]["value"] == pytest.approx(mnli)
    assert table["similar", "tuned"]["value"] == pytest.approx((TUNED["sst2"].mean() + mnli) / 2)
    assert table["", "tuned"]["value"] == pytest.approx((TUNED["sst2"].mean() + mnli + TUNED["squad"].mean()) / 3)
    mnli_base = (BASE["mnli_m"].mean() + BASE["mnli_mm"].mean()) / 2
    expected = (TUNED["sst2"].mean() - BASE["sst2"].mean() + mnli - mnli_base) / 2
    assert table["similar", "tuned"]["difference"] == pytest.approx(expected)
    assert table["similar", "tuned"]["verdict"] == "better"
    assert "difference" not in table["similar", "base"]


def test_the_interval_adds_the_variances_of_the_leaves():
    row = tabulated()["similar", "tuned"]
    se = {name: values.std(ddof=1) / np.sqrt(len(values)) for name, values in TUNED.items()}
    expected = np.sqrt((se["sst2"] / 2) ** 2 + (se["mnli_m"] / 4) ** 2 + (se["mnli_mm"] / 4) ** 2)
    assert row["high"] - row["low"] == pytest.approx(2 * norm.ppf(0.975) * expected, rel=0.02)


def test_scores_on_other_scales_are_averaged_as_fractions():
    numbers = ("value", "low", "high", "difference", "difference_low", "difference_high", "p_value")
    points, shares = tabulated(scale=100.0)["", "tuned"], tabulated()["", "tuned"]
    assert [points[name] for name in numbers] == pytest.approx([shares[name] for name in numbers])


def test_a_node_without_all_its_tasks_has_no_value_and_says_what_is_missing():
    table = tabulated(left_out=("tuned/sst2",))
    assert table["similar", "tuned"] == {
        "node": ["similar"], "tasks": ["sst2", "mnli"], "variant": "tuned", "eval_format": "raw", "missing": ["sst2"],
    }  # fmt: skip
    assert "value" in table["similar", "base"]
    assert "value" in table["dissimilar", "tuned"]


def test_a_task_that_lacks_one_of_its_evaluations_is_not_averaged_over_the_others():
    table = tabulated(left_out=("tuned/mnli_mm",))
    assert table["similar/mnli", "tuned"]["missing"] == table["similar", "tuned"]["missing"] == ["mnli"]
    assert "value" in table["similar/sst2", "tuned"]


def test_a_task_of_which_nothing_could_be_scored_is_missing():
    none = cell("base", "mnli_m", "mnli", [1])
    unscored = Scored(none.cell, {"q0": [Score(Outcome.UNSCORED)]}, none.summary, "v1", metric=none.metric)
    found = [unscored, cell("base", "mnli_mm", "mnli", BASE["mnli_mm"]), cell("base", "sst2", "sst2", BASE["sst2"])]
    rows = averages({s.cell["cell"]: s for s in found}, {"similar": ["sst2", "mnli"]}, 0.05)
    assert {"/".join(r["node"]): r.get("missing") for r in rows} == {
        "similar": ["mnli"], "similar/sst2": None, "similar/mnli": ["mnli"],
    }  # fmt: skip


def test_a_node_is_not_compared_where_one_of_its_tasks_has_no_baseline():
    table = tabulated(left_out=("base/squad",))
    assert "difference" not in table["", "tuned"]
    assert "difference" in table["similar", "tuned"]


def test_the_weight_of_a_group_is_shared_by_the_tasks_that_are_mixed():
    mixture = Mixture(rule="ratio", weights={"similar": 3, "squad": 1})
    assert weights(mixture, ["sst2", "mnli", "squad"], TREE) == {"sst2": 1.5, "mnli": 1.5, "squad": 1}
    assert weights(mixture, ["mnli", "squad"], TREE) == {"mnli": 3, "squad": 1}


def test_choices_and_texts_of_one_task_are_averaged_apart():
    found = [
        cell("base", "chosen", "sst2", BASE["sst2"], by="choose"),
        cell("base", "written", "sst2", TUNED["sst2"]),
        cell("base", "mnli", "mnli", BASE["mnli_m"], by="choose"),
        cell("base", "squad", "squad", BASE["squad"]),
    ]
    rows = averages({s.cell["cell"]: s for s in found}, TREE, 0.05)
    table = {("/".join(row["node"]), row["eval_format"]): row["value"] for row in rows}
    other = BASE["mnli_m"].mean()
    assert table["similar", "raw, choose"] == pytest.approx((BASE["sst2"].mean() + other) / 2)
    assert table["similar", "raw, generate"] == pytest.approx((TUNED["sst2"].mean() + other) / 2)
