"""Contrasts that a study declares: which cells they are of, what they say, and what belongs to one family."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from study_files import changed, compiled, put

from tunelab.errors import StudyError
from tunelab.scoring.aggregate import summarise
from tunelab.scoring.score import Metric, judged
from tunelab.study.comparison import compare
from tunelab.study.contrasts import contrasts, differing
from tunelab.study.scored import Scored

SERVED = changed(
    models={"large": {"endpoint": "http://127.0.0.1:9/v1", "name": "big"}},
    train={"sft": {"format": "raw", "loss": "completion"}},
    evaluate={"small": {"format": "raw", "of": ["sft"]}, "served": {"format": "chat", "of": ["large"]}},
    contrasts=[["sft/small", "large/served"]],
    mismatch="refuse",
)
ITEMS = [f"q{i}" for i in range(90)]


def declared(found):
    return found.compare.settings["contrasts"]


def scored(cell, right, **more):
    """A cell with these right and wrong answers."""
    metric = Metric("m")
    scores = {name: [judged(bool(r), "x", {"m": float(r)})] for name, r in zip(ITEMS, right, strict=True)}
    return Scored(cell, scores, summarise(scores, [metric]), "v1", metric=metric, **more)


@pytest.fixture
def answered(tmp_path):
    """The three cells of ``SERVED``, answered at different rates, two subjects each."""
    found, rng = compiled(tmp_path, SERVED), np.random.default_rng(3)
    rates = {"base/small": 0.2, "sft/small": 0.55, "large/served": 0.8}
    groups = {"subject": {name: f"subject {i % 2}" for i, name in enumerate(ITEMS)}}
    cells = {cell["cell"]: cell for cell in found.compare.settings["cells"]}
    return {name: scored(cells[name], rng.random(90) < rate, groups=groups) for name, rate in rates.items()}


def right(cell):
    return np.array([cell.values()[name] for name in ITEMS])


def test_a_contrast_is_a_paired_difference_across_evaluations(answered):
    [row] = compare(answered, 0.05, contrasts=[("sft/small", "large/served")])["contrasts"]
    sft, large = right(answered["sft/small"]), right(answered["large/served"])
    table = [[int(((sft == i) & (large == j)).sum()) for j in (1, 0)] for i in (1, 0)]
    assert (row["cell"], row["baseline"], row["n"]) == ("sft/small", "large/served", 90)
    assert row["difference"] == pytest.approx(sft.mean() - large.mean())
    assert row["p_value"] == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert row["verdict"] == "worse"


def test_contrasts_and_comparisons_with_the_baseline_are_one_family(answered):
    found = compare(answered, 0.05, contrasts=[("sft/small", "large/served"), ("base/small", "large/served")])
    rows = [*found["comparisons"], *found["contrasts"]]
    adjusted = multipletests([row["p_value"] for row in rows], method="holm")[1]
    assert len(rows) == 3
    assert [row["p_adjusted"] for row in rows] == pytest.approx(adjusted)


def test_without_contrasts_the_comparison_with_the_baseline_stands_alone(answered):
    found = compare(answered, 0.05)
    assert (found["contrasts"], found["group_contrasts"]) == ([], [])
    assert [row["p_adjusted"] for row in found["comparisons"]] == [row["p_value"] for row in found["comparisons"]]


def test_a_contrast_says_by_group_what_it_says_over_all(answered):
    rows = compare(answered, 0.05, contrasts=[("sft/small", "large/served")])["group_contrasts"]
    sft, large = right(answered["sft/small"]), right(answered["large/served"])
    assert [(row["group"], row["cell"], row["baseline"], row["n"]) for row in rows] == [
        ("subject 0", "sft/small", "large/served", 45), ("subject 1", "sft/small", "large/served", 45)
    ]  # fmt: skip
    assert [row["difference"] for row in rows] == pytest.approx([(sft - large)[i::2].mean() for i in (0, 1)])
    assert [row["p_adjusted"] for row in rows] == pytest.approx(
        false_discovery_control([row["p_value"] for row in rows])
    )


def test_a_contrast_names_all_that_its_cells_differ_in(answered):
    [row] = compare(answered, 0.05, contrasts=[("sft/small", "large/served")])["contrasts"]
    assert {"model", "method", "train_format", "eval_format"} <= set(row["differ_in"])
    cells = [answered[name].cell for name in ("base/small", "sft/small")]
    assert "eval_format" not in differing(*cells)
    assert "model" not in differing(*cells)


def test_settings_of_an_evaluation_that_differ_are_named(tmp_path):
    raw = put(SERVED, "evaluate.served.max_new_tokens", 64)
    cells = {cell["cell"]: cell for cell in compiled(tmp_path, raw).compare.settings["cells"]}
    assert "evaluation.max_new_tokens" in differing(cells["sft/small"], cells["large/served"])


def test_a_contrast_with_a_cell_that_has_no_result_says_so(answered):
    hole = answered.pop("large/served").cell
    [row] = compare(answered, 0.05, holes=[hole], contrasts=[("sft/small", "large/served")])["contrasts"]
    assert (row["task"], row["refused"]) == ("arithmetic", "large/served has no result")


def test_cells_of_different_tasks_are_not_contrasted(answered):
    large = answered["large/served"]
    other = Scored({**large.cell, "task": "gsm8k"}, large.scores, large.summary, "v1", metric=large.metric)
    found = compare({**answered, "large/served": other}, 0.05, contrasts=[("sft/small", "large/served")])
    assert found["contrasts"][0]["refused"] == "the two are of different tasks: arithmetic, gsm8k"


def test_contrasts_of_one_seed_are_of_that_seed(tmp_path):
    raw = changed(seeds=[1, 2], contrasts=[["sft_chat/chat", "sft_raw/raw"], ["sft_chat/chat", "base/raw"]])
    assert declared(compiled(tmp_path, raw)) == [
        ("sft_chat#1/chat", "sft_raw#1/raw"),
        ("sft_chat#2/chat", "sft_raw#2/raw"),
        ("sft_chat#1/chat", "base/raw"),
        ("sft_chat#2/chat", "base/raw"),
    ]


def test_contrasts_of_one_point_of_a_sweep_are_of_that_point(tmp_path):
    raw = changed(sweep={"recipe.lr": [0.001, 0.01]}, contrasts=[["sft_chat/chat", "sft_raw/raw"]])
    found = declared(compiled(tmp_path, raw))
    assert len(found) == 2
    assert all(one.partition("/")[0].partition("@")[2] == two.partition("/")[0].partition("@")[2] for one, two in found)
    assert {one.partition("/")[0].partition("@")[0] for one, _ in found} == {"sft_chat"}


def test_a_cell_that_is_not_there_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(StudyError, match=r"contrasts: got 'sft/served', expected a cell, VARIANT/EVALUATION"):
        compiled(tmp_path, put(SERVED, "contrasts", [["sft/served", "large/served"]]))
    with pytest.raises(StudyError, match=r"got 'large/servd', .*did you mean 'large/served'"):
        compiled(tmp_path, put(SERVED, "contrasts", [["sft/small", "large/servd"]]))


def test_one_seed_may_be_named(tmp_path):
    raw = changed(seeds=[1, 2], contrasts=[["sft_chat#2/chat", "sft_raw#2/raw"]])
    assert declared(compiled(tmp_path, raw)) == [("sft_chat#2/chat", "sft_raw#2/raw")]


@pytest.mark.parametrize("wrong", [5, "sft/small", [5], ["sft/small"], [["sft/small"]], {"a": "b"}])
def test_what_is_no_list_of_pairs_is_refused_in_one_line(tmp_path, wrong):
    for skipped in ([], ["evaluate.served"]):
        with pytest.raises(StudyError, match="contrasts") as raised:
            compiled(tmp_path, put(SERVED, "contrasts", wrong), skipped=skipped)
        assert "\n" not in str(raised.value)


def test_what_a_selection_leaves_out_is_contrasted_no_more(tmp_path):
    two = put(SERVED, "train.other", {"format": "raw", "loss": "all"})
    two["evaluate"]["small"]["of"] = ["sft", "other"]
    two["contrasts"] = [["sft/small", "large/served"], ["other/small", "large/served"]]
    assert declared(compiled(tmp_path, two)) == [("sft/small", "large/served"), ("other/small", "large/served")]
    assert declared(compiled(tmp_path, two, "train=sft")) == [("sft/small", "large/served")]
    assert declared(compiled(tmp_path, two, skipped=["evaluate.served"])) == []
    assert declared(compiled(tmp_path, two, skipped=["train.sft"])) == [("other/small", "large/served")]


def test_contrasts_are_no_identity_of_what_they_compare(tmp_path):
    with_them, without = compiled(tmp_path, SERVED), compiled(tmp_path, changed(**SERVED | {"contrasts": None}))
    assert {n: s.fingerprint for n, s in with_them.scores.items()} == {
        n: s.fingerprint for n, s in without.scores.items()
    }
    assert with_them.compare.fingerprint != without.compare.fingerprint
    assert contrasts(with_them.study, with_them.cells) == [("sft/small", "large/served")]
