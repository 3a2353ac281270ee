"""Averages over a tree of tasks: by hand on synthetic cells."""

import numpy as np
import pytest
from scipy.stats import norm, t

from tunelab.errors import StudyError
from tunelab.scoring.aggregate import summarise
from tunelab.scoring.score import Metric, Outcome, Score
from tunelab.study.averages import Averaged, averages
from tunelab.study.scored import Scored
from tunelab.study.tree import check_tree, leaf_weights, places

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
    rows = averages({s.cell["cell"]: s for s in found}, Averaged(TREE), 0.05, holes)
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
    rows = averages({s.cell["cell"]: s for s in found}, Averaged({"similar": ["sst2", "mnli"]}), 0.05)
    assert {"/".join(r["node"]): r.get("missing") for r in rows} == {
        "similar": ["mnli"], "similar/sst2": None, "similar/mnli": ["mnli"],
    }  # fmt: skip


def test_a_node_is_not_compared_where_one_of_its_tasks_has_no_baseline():
    table = tabulated(left_out=("base/squad",))
    assert "difference" not in table["", "tuned"]
    assert "difference" in table["similar", "tuned"]


def test_the_weight_of_a_group_is_shared_by_the_tasks_that_are_mixed():
    declared = {"similar": 3, "squad": 1}
    assert leaf_weights(declared, ["sst2", "mnli", "squad"], TREE, "w") == {"sst2": 1.5, "mnli": 1.5, "squad": 1}
    assert leaf_weights(declared, ["mnli", "squad"], TREE, "w") == {"mnli": 3, "squad": 1}


def test_a_name_of_a_group_and_a_task_means_the_group_unless_its_tasks_are_weighed_apart():
    tree = {"math": ["gsm8k", "math"], "qa": ["squad"]}
    check_tree(tree)
    tasks = ["gsm8k", "math", "squad"]
    assert leaf_weights({"math": 4, "qa": 3}, tasks, tree, "w") == {"gsm8k": 2, "math": 2, "squad": 3}
    assert leaf_weights({"math": 4, "gsm8k": 1, "qa": 3}, tasks, tree, "w") == {"gsm8k": 1, "math": 4, "squad": 3}


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"similar": 1, "sst2": 1, "squad": 1}, "w: sst2 has two weights, expected one"),
        ({"similar": 1}, "w: squad has none; add it"),
        ({"similar": 1, "sqad": 1}, "w: got 'sqad', expected a task of sst2, mnli, squad or a group of them.*'squad'"),
    ],
)
def test_weights_that_do_not_fit_the_tasks_are_refused(declared, expected):
    with pytest.raises(StudyError, match=expected):
        leaf_weights(declared, ["sst2", "mnli", "squad"], TREE, "w")


def test_a_weighted_average_is_what_a_mixture_by_these_weights_would_score():
    sst2, mnli = TUNED["sst2"], TUNED["mnli_m"]
    found = {f"tuned/{name}": cell("tuned", name, name, values) for name, values in (("sst2", sst2), ("mnli", mnli))}
    tree = {"similar": ["sst2", "mnli"]}
    [node, *leaves] = averages(found, Averaged(tree, {"sst2": 3, "mnli": 1}), 0.05)
    assert node["value"] == pytest.approx(0.75 * sst2.mean() + 0.25 * mnli.mean())
    mixture = np.random.default_rng(0)
    drawn = [mixture.choice(sst2 if mixture.random() < 0.75 else mnli) for _ in range(100_000)]
    assert node["value"] == pytest.approx(np.mean(drawn), abs=0.01)
    variance = (0.75**2 * sst2.var(ddof=1) / len(sst2)) + (0.25**2 * mnli.var(ddof=1) / len(mnli))
    assert (node["high"] - node["low"]) / 2 == pytest.approx(norm.ppf(0.975) * variance**0.5, rel=0.01)
    assert [leaf["value"] for leaf in leaves] == pytest.approx([sst2.mean(), mnli.mean()])


def test_a_weighted_difference_is_that_of_the_weighted_averages_with_the_error_of_its_parts():
    change = {"sst2": TUNED["sst2"] - BASE["sst2"], "mnli": TUNED["mnli_m"] - BASE["mnli_m"]}
    found = {
        f"{variant}/{name}": cell(variant, name, name, table[key])
        for variant, table in (("base", BASE), ("tuned", TUNED))
        for name, key in (("sst2", "sst2"), ("mnli", "mnli_m"))
    }
    rows = averages(found, Averaged({"similar": ["sst2", "mnli"]}, {"sst2": 1, "mnli": 4}), 0.05)
    [node] = [row for row in rows if row["node"] == ["similar"] and row["variant"] == "tuned"]
    shares = {"sst2": 0.2, "mnli": 0.8}
    assert node["difference"] == pytest.approx(sum(shares[name] * values.mean() for name, values in change.items()))
    parts = {name: shares[name] ** 2 * values.var(ddof=1) / len(values) for name, values in change.items()}
    error, df = (
        sum(parts.values()) ** 0.5,
        sum(parts.values()) ** 2 / sum(part**2 / (len(change[name]) - 1) for name, part in parts.items()),
    )  # Welch and Satterthwaite
    assert (node["difference_high"] - node["difference_low"]) / 2 == pytest.approx(t.ppf(0.975, df) * error)
    assert node["p_value"] == pytest.approx(2 * t.sf(abs(node["difference"]) / error, df))


def test_choices_and_texts_of_one_task_are_averaged_apart():
    found = [
        cell("base", "chosen", "sst2", BASE["sst2"], by="choose"),
        cell("base", "written", "sst2", TUNED["sst2"]),
        cell("base", "mnli", "mnli", BASE["mnli_m"], by="choose"),
        cell("base", "squad", "squad", BASE["squad"]),
    ]
    rows = averages({s.cell["cell"]: s for s in found}, Averaged(TREE), 0.05)
    table = {("/".join(row["node"]), row["eval_format"]): row["value"] for row in rows}
    other = BASE["mnli_m"].mean()
    assert table["similar", "raw, choose"] == pytest.approx((BASE["sst2"].mean() + other) / 2)
    assert table["similar", "raw, generate"] == pytest.approx((TUNED["sst2"].mean() + other) / 2)
