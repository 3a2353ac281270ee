"""Corpus metrics, clusters and values that only some items have: summaries against the statistics they stand for."""

import numpy as np
import pytest

from tunelab.errors import DataError
from tunelab.scoring.aggregate import cluster_codes, interval, item_parts, summarise
from tunelab.scoring.score import Metric, Outcome, Score, at_budget_end
from tunelab.stats import corpus_interval, mean_t, wilson


def f1(sums):
    return 2 * sums[0] / (sums[1] + sums[2]) if sums[1] + sums[2] else 0.0


F1 = Metric("f1", binary=False, total=f1)


def part(*numbers):
    return Score(Outcome.WRONG, {"f1": f1(numbers)}, parts={"f1": numbers})


def judged_items(values):
    return {f"q{i}": [Score(Outcome.WRONG, {"m": float(v)})] for i, v in enumerate(values)}


def test_a_corpus_metric_is_the_total_of_the_sums_and_not_the_mean_of_items():
    scores = {"a": [part(1, 1, 1)], "b": [part(0, 5, 1)], "c": [part(2, 3, 3)]}
    found = summarise(scores, [F1])["metrics"]["f1"]
    assert found["value"] == pytest.approx(2 * 3 / (9 + 5))
    expected = corpus_interval([[1, 1, 1], [0, 5, 1], [2, 3, 3]], f1)
    assert (found["low"], found["high"], found["method"], found["n"]) == (expected.low, expected.high, "bootstrap", 3)


def test_an_item_with_several_draws_weighs_as_much_as_one_with_a_single_draw():
    scores = {"a": [part(1, 1, 1), part(0, 3, 1), Score(Outcome.UNSCORED)], "b": [part(2, 2, 2)]}
    assert item_parts(scores, "f1")["a"].tolist() == [0.5, 2, 1]
    assert summarise(scores, [F1])["metrics"]["f1"]["value"] == pytest.approx(2 * 2.5 / (4 + 3))


def test_parts_of_different_lengths_are_refused():
    scores = {"a": [part(1, 1, 1)], "b": [Score(Outcome.WRONG, {"f1": 0.0}, parts={"f1": (1.0, 2.0)})]}
    with pytest.raises(DataError, match=r"parts of 'f1': got lengths \[2, 3\], expected one length"):
        summarise(scores, [F1])


def test_clusters_take_the_place_of_wilsons_interval():
    values = np.repeat([1, 0, 1, 1, 0, 0], 4)
    values[::5] = 1 - values[::5]
    clusters = {f"q{i}": f"p{i // 4}" for i in range(24)}
    found = summarise(judged_items(values), [Metric("m")], clusters)["metrics"]["m"]
    expected = mean_t(values, np.arange(24) // 4)
    assert found == {
        "value": expected.value,
        "low": expected.low,
        "high": expected.high,
        "method": "clustered_t",
        "n": 24,
    }
    alone = summarise(judged_items(values), [Metric("m")], {i: i for i in clusters})["metrics"]["m"]
    assert alone["low"] == wilson(int(values.sum()), 24).low


def test_a_corpus_metric_draws_whole_clusters():
    rng = np.random.default_rng(0)
    parts = rng.integers(0, 3, size=(12, 1)).repeat(5, axis=0) + np.array([[0, 3, 3]])
    scores = {f"q{i}": [part(*map(float, row))] for i, row in enumerate(parts)}
    found = summarise(scores, [F1], {f"q{i}": str(i // 5) for i in range(60)})["metrics"]["f1"]
    expected = corpus_interval(parts, f1, np.arange(60) // 5)
    assert (found["low"], found["high"]) == (expected.low, expected.high)
    assert found["high"] - found["low"] > 1.5 * (lambda i: i.high - i.low)(corpus_interval(parts, f1))


def test_items_outside_every_cluster_stand_alone_and_share_no_name_with_one():
    assert cluster_codes(["a", "b", "c", "d"], {"a": "p", "c": "p"}).tolist() == [0, 1, 0, 2]
    assert cluster_codes(["a", "b", "c"], {"a": "c", "b": "c"}).tolist() == [0, 0, 1]
    assert cluster_codes(["a", "b"], {"a": "p", "b": "q"}) is None


def test_items_that_a_metric_is_not_about_neither_count_nor_bound_it():
    scores = {
        "a": [Score(Outcome.CORRECT, {"f1": 1.0, "has": 1.0})],
        "b": [Score(Outcome.WRONG, {"f1": 0.0, "has": 0.0})],
        "c": [Score(Outcome.CORRECT, {"f1": 1.0})],
    }
    metrics = [Metric("f1"), Metric("has"), Metric("never")]
    found = summarise(scores, metrics)["metrics"]
    assert (found["has"]["value"], found["has"]["n"], "worst_case" in found["has"]) == (0.5, 2, False)
    assert found["never"] == {"value": None, "low": None, "high": None, "method": "none", "n": 0}
    unscored = summarise(scores | {"d": [Score(Outcome.UNSCORED)]}, metrics)["metrics"]["has"]
    assert (unscored["worst_case"], unscored["best_case"]) == pytest.approx((1 / 3, 2 / 3))


def test_a_definition_stands_beside_the_value():
    found = summarise(judged_items([1, 0]), [Metric("m", definition="tok:13a")])["metrics"]["m"]
    assert found["definition"] == "tok:13a"


def test_a_cut_answer_keeps_its_parts():
    assert at_budget_end(part(1, 2, 3)).parts == {"f1": (1, 2, 3)}


def test_a_safety_rate_has_the_exact_interval():
    scores = {f"i{n}": [Score(Outcome.CORRECT, {"safe": 1.0})] for n in range(20)}
    found = interval(scores, Metric("safe", interval="clopper_pearson"))
    assert (found["method"], found["high"]) == ("clopper_pearson", 1)
    assert found["low"] == pytest.approx(0.025 ** (1 / 20))
    assert interval(scores, Metric("safe"))["method"] == "wilson"


def test_the_exact_interval_keeps_the_bounds_of_what_is_unscored():
    scores = {f"i{n}": [Score(Outcome.CORRECT, {"safe": float(n < 6)})] for n in range(8)}
    scores |= {f"u{n}": [Score(Outcome.UNSCORED)] for n in range(2)}
    found = interval(scores, Metric("safe", interval="clopper_pearson"))
    assert (found["value"], found["n"], found["worst_case"], found["best_case"]) == (0.75, 8, 0.6, 0.8)


def test_every_item_is_in_one_group_and_each_group_is_a_summary_of_its_items():
    scores = {f"i{n}": [Score(Outcome.CORRECT, {"safe": float(n < 3)})] for n in range(5)}
    scores["u"] = [Score(Outcome.UNSCORED)]
    groups = {"hazard": {"i0": "vcr", "i3": "vcr", "i1": "spc", "u": "spc"}}
    metrics = [Metric("safe", interval="clopper_pearson")]
    found = summarise(scores, metrics, None, groups)["groups"]["hazard"]
    assert list(found) == ["none", "spc", "vcr"]
    assert {value: (g["n"], g["scored"]) for value, g in found.items()} == {
        "none": (2, 2),
        "spc": (2, 1),
        "vcr": (2, 2),
    }
    assert {value: g["metrics"]["safe"]["value"] for value, g in found.items()} == {"none": 0.5, "spc": 1, "vcr": 0.5}
    assert found["spc"]["metrics"]["safe"]["worst_case"] == 0.5
    alone = {item: scores[item] for item in ("i0", "i3")}
    assert found["vcr"]["metrics"] == summarise(alone, metrics)["metrics"]
    assert "groups" not in summarise(scores, metrics)


def test_groups_respect_clusters():
    scores = {f"i{n}": [Score(Outcome.CORRECT, {"safe": float(n % 4 < 2)})] for n in range(8)}
    groups = {"half": {f"i{n}": "one" if n < 4 else "two" for n in range(8)}}
    paired = {f"i{n}": f"c{n // 2}" for n in range(4)}
    found = summarise(scores, [Metric("safe")], paired, groups)["groups"]["half"]
    assert found["two"]["metrics"]["safe"]["method"] == "wilson"
    assert found["one"]["metrics"]["safe"] == interval({k: scores[k] for k in paired}, Metric("safe"), paired)
    assert found["one"]["metrics"]["safe"]["method"] != "wilson"
