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


PAIR = ("sft/small", "large/served", ["model"])


def declared(found):
    return [(one, other) for one, other, _ in found.compare.settings["contrasts"]]


def cells_of(found):
    return {cell.name: cell for cell in found.cells}


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
    [row] = compare(answered, 0.05, contrasts=[PAIR])["contrasts"]
    assert row["differ_in"] == ["model"]
    sft, large = right(answered["sft/small"]), right(answered["large/served"])
    table = [[int(((sft == i) & (large == j)).sum()) for j in (1, 0)] for i in (1, 0)]
    assert (row["cell"], row["baseline"], row["n"]) == ("sft/small", "large/served", 90)
    assert row["difference"] == pytest.approx(sft.mean() - large.mean())
    assert row["p_value"] == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert row["verdict"] == "worse"


def test_contrasts_and_comparisons_with_the_baseline_are_one_family(answered):
    found = compare(answered, 0.05, contrasts=[PAIR, ("base/small", "large/served", [])])
    rows = [*found["comparisons"], *found["contrasts"]]
    adjusted = multipletests([row["p_value"] for row in rows], method="holm")[1]
    assert len(rows) == 3
    assert [row["p_adjusted"] for row in rows] == pytest.approx(adjusted)


def test_without_contrasts_the_comparison_with_the_baseline_stands_alone(answered):
    found = compare(answered, 0.05)
    assert (found["contrasts"], found["group_contrasts"]) == ([], [])
    assert [row["p_adjusted"] for row in found["comparisons"]] == [row["p_value"] for row in found["comparisons"]]


def test_a_contrast_says_by_group_what_it_says_over_all(answered):
    rows = compare(answered, 0.05, contrasts=[PAIR])["group_contrasts"]
    sft, large = right(answered["sft/small"]), right(answered["large/served"])
    assert [(row["group"], row["cell"], row["baseline"], row["n"]) for row in rows] == [
        ("subject 0", "sft/small", "large/served", 45), ("subject 1", "sft/small", "large/served", 45)
    ]  # fmt: skip
    assert [row["difference"] for row in rows] == pytest.approx([(sft - large)[i::2].mean() for i in (0, 1)])
    assert [row["p_adjusted"] for row in rows] == pytest.approx(
        false_discovery_control([row["p_value"] for row in rows])
    )


def test_what_cells_differ_in_is_told_by_the_names_of_a_study_file(tmp_path):
    found = cells_of(compiled(tmp_path, put(SERVED, "evaluate.served.max_new_tokens", 64)))
    assert set(differing(found["sft/small"], found["large/served"])) == {
        "model", "server", "evaluate.format", "evaluate.max_new_tokens", "training"
    }  # fmt: skip
    assert differing(found["sft/small"], found["sft/small"]) == []
    assert differing(found["base/small"], found["sft/small"]) == ["training"]


def test_what_two_trainings_differ_in_is_told_to_the_last_setting(tmp_path):
    raw = put(
        put(SERVED, "train.other", {"format": "raw", "loss": "completion"}), "evaluate.small.of", ["sft", "other"]
    )
    changes = {"adaptation": "lora", "lora": {"rank": 64, "dropout": 0.5}, "lr": 0.01}
    found = cells_of(compiled(tmp_path, put(raw, "train.other", {**raw["train"]["other"], **changes})))
    assert set(differing(found["sft/small"], found["other/small"])) == {
        "train.adaptation", "train.lora.rank", "train.lora.dropout", "train.lr"
    }  # fmt: skip


def test_the_plan_hands_over_what_the_cells_differ_in(tmp_path):
    found = compiled(tmp_path, SERVED)
    [[one, other, differ_in]] = found.compare.settings["contrasts"]
    assert differ_in == differing(cells_of(found)[one], cells_of(found)[other])


def test_a_contrast_with_a_cell_that_has_no_result_says_so(answered):
    hole = answered.pop("large/served").cell
    [row] = compare(answered, 0.05, holes=[hole], contrasts=[PAIR])["contrasts"]
    assert (row["task"], row["refused"]) == ("arithmetic", "large/served has no result")


def test_cells_of_different_tasks_are_not_contrasted(answered):
    large = answered["large/served"]
    other = Scored({**large.cell, "task": "gsm8k"}, large.scores, large.summary, "v1", metric=large.metric)
    found = compare({**answered, "large/served": other}, 0.05, contrasts=[PAIR])
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


def test_two_seeds_or_points_that_are_named_are_contrasted(tmp_path):
    raw = changed(seeds=[1, 2], contrasts=[["sft_chat#1/chat", "sft_chat#2/chat"]])
    assert declared(compiled(tmp_path, raw)) == [("sft_chat#1/chat", "sft_chat#2/chat")]
    points = ["sft_chat@lr=0.001/chat", "sft_chat@lr=0.01/chat"]
    raw = changed(sweep={"recipe.lr": [0.001, 0.01]}, contrasts=[points])
    assert declared(compiled(tmp_path, raw)) == [tuple(points)]


def test_of_an_untouched_model_only_the_model_tells_points_apart(tmp_path):
    sweep = {"model": ["a/b", "c/d"], "recipe.lr": [0.001, 0.01]}
    found = compiled(tmp_path, changed(sweep=sweep, contrasts=[["sft_chat/chat", "base/raw"]]))
    cells = cells_of(found)
    assert len(declared(found)) == 4
    assert all(cells[one].variant.model == cells[other].variant.model for one, other in declared(found))


def test_names_of_hub_models_in_a_sweep_are_names(tmp_path):
    raw = changed(sweep={"model": ["a/b", "c/d"]}, contrasts=[["sft_raw/raw", "base/chat"]])
    assert declared(compiled(tmp_path, raw)) == [
        ("sft_raw@model=a/b/raw", "base@model=a/b/chat"), ("sft_raw@model=c/d/raw", "base@model=c/d/chat")
    ]  # fmt: skip


def test_adopted_weights_have_no_seed(tmp_path):
    (tmp_path / "old").mkdir()
    train = {
        "sft_raw": {"format": "raw", "loss": "all"},
        "old": {"format": "raw", "loss": "all", "from_checkpoint": "old"},
    }
    found = compiled(tmp_path, changed(seeds=[1, 2], train=train, contrasts=[["sft_raw/raw", "old/raw"]]))
    assert declared(found) == [("sft_raw#1/raw", "old/raw"), ("sft_raw#2/raw", "old/raw")]


@pytest.mark.parametrize(
    ("pairs", "why"),
    [
        ([["sft_raw/raw", "sft_raw/raw"]], "both are the same cell"),
        ([["sft_raw/raw", "base/raw"]], "one is the other's baseline"),
        ([["base/raw", "sft_raw/raw"]], "one is the other's baseline"),
        ([["sft_raw/raw", "base/chat"], ["base/chat", "sft_raw/raw"]], "the other way round too"),
        ([["sft_raw/raw", "base/fewer"]], "expected cells on the same rows; give evaluate.raw and evaluate.fewer"),
        ([["sft_raw/raw", "base/other"]], "expected cells of one task, and they are of arithmetic and gsm8k"),
    ],
)
def test_what_is_no_new_contrast_is_refused_before_anything_runs(tmp_path, pairs, why):
    others = {"fewer": {"format": "raw", "rows": 10}, "other": {"format": "raw", "task": "gsm8k"}}
    raw = changed(contrasts=pairs) | {"evaluate": {"chat": {"format": "chat"}, "raw": {"format": "raw"}, **others}}
    with pytest.raises(StudyError, match=why):
        compiled(tmp_path, raw)


def test_cells_that_answer_in_different_ways_are_refused_before_anything_runs(tmp_path):
    evaluate = {"chosen": {"format": "raw", "by": "choose"}, "written": {"format": "raw", "by": "generate"}}
    raw = changed(task="sst2", evaluate=evaluate, contrasts=[["sft_raw/chosen", "base/written"]])
    with pytest.raises(StudyError, match="they answer by choose and by generate"):
        compiled(tmp_path, raw)


def test_seeds_that_no_two_cells_share_are_refused(tmp_path):
    raw = changed(seeds=[1, 2], contrasts=[["sft_chat#1/chat", "sft_raw/raw"]])
    assert declared(compiled(tmp_path, raw)) == [
        ("sft_chat#1/chat", "sft_raw#1/raw"), ("sft_chat#1/chat", "sft_raw#2/raw")
    ]  # fmt: skip


def test_a_typo_is_refused_beside_a_selection_too(tmp_path):
    raw = put(SERVED, "train.asked", {"format": "raw", "loss": "all", "on_request": True})
    for wrong in ("sft/smal", "sfd/small"):
        with pytest.raises(StudyError, match=f"contrasts: got '{wrong}'"):
            compiled(tmp_path, put(raw, "contrasts", [[wrong, "large/served"]]))
    assert declared(compiled(tmp_path, put(raw, "contrasts", [["asked/small", "large/served"]]))) == []


def test_contrasts_are_one_for_all_points_of_a_sweep(tmp_path):
    raw = changed(sweep={"contrasts": [[], [["sft_raw/raw", "base/chat"]]]})
    with pytest.raises(StudyError, match="sweep: contrasts differs"):
        compiled(tmp_path, raw)


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
    [pair] = contrasts(with_them.study, with_them.cells)
    assert [cell.name for cell in pair] == ["sft/small", "large/served"]


def test_contrasts_of_one_point_of_a_swept_evaluation_are_of_that_point(tmp_path):
    sweep = {"evaluation.max_new_tokens": [8, 16]}
    found = declared(compiled(tmp_path, changed(sweep=sweep, contrasts=[["sft_chat/chat", "sft_raw/raw"]])))
    assert len(found) == 2
    assert all(one.rpartition("@")[2] == other.rpartition("@")[2] for one, other in found)
