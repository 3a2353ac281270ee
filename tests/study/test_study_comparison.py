"""The comparison of synthetic cells, against scipy, statsmodels and sums by hand."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from study_files import STUDY, changed, opened

from tunelab.scoring.aggregate import summarise
from tunelab.scoring.score import Metric, Outcome, Score
from tunelab.stats import paired_corpus_difference
from tunelab.study.cells import cells, describe_cell
from tunelab.study.comparison import compare
from tunelab.study.effects import effects
from tunelab.study.scored import Scored

BINARY, GRADED = Metric("m"), Metric("m", binary=False)


def described(folder, **fields):
    """Cells as the plan describes them."""
    return [describe_cell(cell) for cell in cells(opened(folder, changed(**fields)))]


def scored(cell, values, metric=BINARY, scorer="v1", ids=None):
    """A scored cell; a value of None is unscored."""
    names = ids or [f"q{i}" for i in range(len(values))]
    scores = {
        name: [
            Score(Outcome.UNSCORED)
            if v is None
            else Score(Outcome.CORRECT if v == 1 else Outcome.WRONG, {"m": float(v)})
        ]
        for name, v in zip(names, values, strict=True)
    }
    return Scored(cell, scores, summarise(scores, [metric]), scorer)


def compared(*found, alpha=0.05):
    return compare({s.cell["cell"]: s for s in found}, alpha)


@pytest.fixture
def pair(tmp_path):
    """The base and one variant under one evaluation."""
    train, evaluate = {"sft": {"format": "chat", "loss": "all"}}, {"chat": {"format": "chat"}}
    return described(tmp_path, train=train, evaluate=evaluate)


def test_right_and_wrong_are_compared_in_pairs(pair):
    rng = np.random.default_rng(0)
    base, sft = (rng.random(80) < 0.3).astype(int), (rng.random(80) < 0.6).astype(int)
    [row] = compared(scored(pair[0], base), scored(pair[1], sft))["comparisons"]
    table = [[int(((sft == i) & (base == j)).sum()) for j in (1, 0)] for i in (1, 0)]
    assert (row["cell"], row["baseline"], row["n"], row["left_out"]) == ("sft/chat", "base/chat", 80, 0)
    assert row["difference"] == pytest.approx(sft.mean() - base.mean())
    assert (row["only_variant_right"], row["only_baseline_right"]) == (table[0][1], table[1][0])
    assert row["p_value"] == pytest.approx(mcnemar(table, exact=True).pvalue)


def test_graded_values_are_compared_in_pairs(pair):
    base, sft = np.random.default_rng(0).random((2, 50))
    [row] = compared(scored(pair[0], base, GRADED), scored(pair[1], sft, GRADED))["comparisons"]
    expected = ttest_1samp(sft - base, 0)
    interval = expected.confidence_interval(0.95)
    assert row["p_value"] == pytest.approx(expected.pvalue)
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))


def test_pairs_are_made_by_id_and_not_by_place(pair):
    values, ids = [1, 0, 0, 1, 1, 0], list("abcdef")
    one = scored(pair[0], values, ids=ids)
    other = scored(pair[1], values[::-1], ids=ids[::-1])
    [row] = compared(one, other)["comparisons"]
    assert (row["difference"], row["discordant"]) == (0, 0)


def test_unscored_items_are_left_out_of_the_pair_and_counted(pair):
    base, sft = [1, 0, None, 0, 1, 1], [1, 1, 1, None, 1, 0]
    result = compared(scored(pair[0], base), scored(pair[1], sft))
    [row] = result["comparisons"]
    assert (row["n"], row["left_out"], row["difference"]) == (4, 2, 0.0)
    assert [(c["n"], c["scored"], c["outcomes"]["unscored"]) for c in result["cells"]] == [(6, 5, 1), (6, 5, 1)]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (
            {"ids": ["q0", "q1", "x", "y"]},
            "the two were asked different samples "
            "(4 of them are in one only: 2 (x, y) in sft/chat and 2 (q2, q3) in base/chat)",
        ),
        ({"scorer": "v2"}, "the two were scored by different scorers"),
        ({"values": [None] * 4}, "no item was scored on both sides"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(pair, other, reason):
    result = compared(scored(pair[0], [1, 0, 1, 0]), scored(pair[1], **({"values": [1, 1, 1, 1]} | other)))
    [row] = result["comparisons"]
    assert row["refused"] == reason
    assert not {"difference", "p_value", "p_adjusted", "verdict"} & set(row)


def test_a_missing_baseline_leaves_no_comparison(pair):
    result = compared(scored(pair[1], [1, 0]))
    assert result["comparisons"] == []
    assert [cell["cell"] for cell in result["cells"]] == ["sft/chat"]


def test_holms_correction_runs_within_each_task(tmp_path):
    evaluate = {"chat": {"format": "chat"}, "raw": {"format": "raw"}, "other": {"format": "raw", "task": "gsm8k"}}
    rng = np.random.default_rng(1)
    found = [
        scored(cell, (rng.random(100) < (0.3 if cell["variant"] == "base" else 0.4 + 0.05 * i)).astype(int))
        for i, cell in enumerate(described(tmp_path, evaluate=evaluate))
    ]
    rows = compared(*found)["comparisons"]
    assert {row["task"] for row in rows} == {"arithmetic", "gsm8k"}
    for task, size in (("arithmetic", 4), ("gsm8k", 2)):
        family = [row for row in rows if row["task"] == task]
        expected = multipletests([row["p_value"] for row in family], method="holm")[1]
        assert [row["p_adjusted"] for row in family] == pytest.approx(list(expected))
        assert len(family) == size


@pytest.mark.parametrize(("right", "expected"), [(60, "better"), (20, "worse"), (41, "undecided"), (40, "undecided")])
def test_a_verdict_says_which_way(pair, right, expected):
    base, sft = [int(i < 40) for i in range(100)], [int(i < right) for i in range(100)]
    [row] = compared(scored(pair[0], base), scored(pair[1], sft))["comparisons"]
    assert row["verdict"] == expected
    [strict] = compared(scored(pair[0], base), scored(pair[1], sft), alpha=1e-7)["comparisons"]
    assert strict["verdict"] == "undecided"


def test_thresholds_are_judged_and_a_metric_that_is_not_there_is_missing(tmp_path):
    [cell] = described(tmp_path, train={}, evaluate={"chat": {"format": "chat", "at_least": {"m": 0.3, "f2": 0.1}}})
    rows = compared(scored(cell, [1] * 90 + [0] * 10))["thresholds"]
    assert [(row["metric"], row["at_least"]) for row in rows] == [("m", 0.3), ("f2", 0.1)]
    assert [(row.get("value"), row["verdict"]) for row in rows] == [(0.9, "pass"), (None, "missing")]


CROSSED = {f"{fmt}_{loss}": {"format": fmt, "loss": loss} for fmt in ("chat", "raw") for loss in ("all", "completion")}


def crossed(folder, **fields):
    """Two formats × two losses × two evaluations with graded values; and the values by factors."""
    rng = np.random.default_rng(2)
    found, values = [], {}
    for cell in described(folder, **({"train": CROSSED} | fields)):
        drawn = rng.random(30) * (0.2 if cell["variant"] == "base" else 1)
        found.append(scored(cell, drawn, GRADED))
        f = cell["factors"]
        values[f["train_format"], f["eval_format"], f["loss"]] = drawn
    return {row["effect"]: row for row in compared(*found)["effects"]}, values


def test_matched_minus_mismatched_is_the_sum_by_hand(tmp_path):
    rows, values = crossed(tmp_path)
    matched = np.mean([v for (t, e, _), v in values.items() if t == e], axis=0)
    mismatched = np.mean([v for (t, e, _), v in values.items() if t and t != e], axis=0)
    row, expected = rows["formats: matched - mismatched"], ttest_1samp(matched - mismatched, 0)
    assert row["value"] == pytest.approx((matched - mismatched).mean())
    assert row["p_value"] == pytest.approx(expected.pvalue)
    assert (row["low"], row["high"]) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert (row["cells"], row["n"]) == (8, 30)


@pytest.mark.parametrize(
    ("effect", "place", "high", "low"),
    [
        ("loss: completion - all", 2, "completion", "all"),
        ("training format: chat - raw", 0, "chat", "raw"),
        ("evaluation format: chat - raw", 1, "chat", "raw"),
    ],
)
def test_a_main_effect_is_the_difference_of_means(tmp_path, effect, place, high, low):
    rows, values = crossed(tmp_path)
    mean = {level: np.mean([v for k, v in values.items() if k[0] and k[place] == level]) for level in (high, low)}
    assert rows[effect]["value"] == pytest.approx(mean[high] - mean[low])


def test_effects_are_corrected_within_the_task(tmp_path):
    rows = list(crossed(tmp_path)[0].values())
    expected = multipletests([row["p_value"] for row in rows], method="holm")[1]
    assert [row["p_adjusted"] for row in rows] == pytest.approx(list(expected))


def test_an_effect_is_taken_only_where_all_else_is_equal(tmp_path):
    train = {k: v for k, v in CROSSED.items() if k != "raw_completion"}
    rows, values = crossed(tmp_path, train=train)
    pairs = [values["chat", e, "completion"] - values["chat", e, "all"] for e in ("chat", "raw")]
    assert rows["loss: completion - all"]["value"] == pytest.approx(np.mean(pairs))
    assert rows["loss: completion - all"]["cells"] == 4


@pytest.mark.parametrize("other", [{"lr": 0.5}, {"rows": 50}, {"epochs": 9}, {"task": "gsm8k"}])
def test_recipes_that_differ_in_more_than_a_factor_show_no_effect_of_it(tmp_path, other):
    train = {"one": {"format": "chat", "loss": "all"}, "two": {"format": "chat", "loss": "completion", **other}}
    rows, _ = crossed(tmp_path, train=train)
    assert "loss: completion - all" not in rows


def test_settings_that_are_no_factor_show_no_effect(tmp_path):
    train = {f"lr{n}": {"format": "chat", "loss": "all", "lr": n / 10} for n in (1, 2)}
    assert set(crossed(tmp_path, train=train, seeds=[0, 1])[0]) == {"evaluation format: chat - raw"}


def test_the_effect_of_adapters_is_shown_against_full_training(tmp_path):
    lora = {"adaptation": "lora", "lora": {"rank": 4}}
    train = {"full": {"format": "chat", "loss": "all"}, "lora": {"format": "chat", "loss": "all", **lora}}
    assert crossed(tmp_path, train=train)[0]["adaptation: lora - full"]["cells"] == 4


def test_two_cells_with_the_same_factors_are_no_pair(tmp_path):
    recipe = STUDY["recipe"] | {"adaptation": "lora"}
    train = {f"r{r}": {"format": "chat", "loss": "all", "lora": {"rank": r}} for r in (2, 4)}
    rows, _ = crossed(tmp_path, recipe=recipe, train=train | {"b": {"format": "chat", "loss": "completion"}})
    assert "loss: completion - all" not in rows


def test_seeds_are_paired_with_themselves():
    base = {"loss": "all", "seed": "0", "others": "{}"}
    found = [base, base | {"loss": "completion"}, base | {"seed": "1"}, base | {"seed": "1", "loss": "completion"}]
    [effect] = effects(found)
    assert effect.weights == pytest.approx([-0.5, 0.5, -0.5, 0.5])
    [alone] = effects([*found[:3], base | {"seed": "2", "loss": "completion"}])
    assert alone.weights == pytest.approx([-1, 1, 0, 0])


def f1(sums):
    return 2 * sums[0] / (sums[1] + sums[2]) if sums[1] + sums[2] else 0.0


def counted(cell, parts, clusters=None):
    """A cell scored by F1 over all items, from each item's hits, guesses and golds."""
    scores = {
        f"q{i}": [Score(Outcome.WRONG, {"f1": f1(row)}, parts={"f1": tuple(map(float, row))})]
        for i, row in enumerate(parts)
    }
    summary = summarise(scores, [Metric("f1", binary=False, total=f1)], clusters)
    return Scored(cell, scores, summary, "v1", clusters or {}, Metric("f1", binary=False, total=f1))


def hits(seed, rate):
    """Items with one to four golds, four guesses, and hits at about ``rate``."""
    rng = np.random.default_rng(seed)
    golds = rng.integers(1, 5, size=60)
    return np.stack([rng.binomial(golds, rate), np.full(60, 4), golds], axis=1)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_corpus_metric_is_compared_as_a_whole(pair, grouped):
    base, sft = hits(0, 0.4), hits(0, 0.7)
    groups = np.arange(60) // 6
    clusters = {f"q{i}": str(g) for i, g in enumerate(groups)} if grouped else None
    [row] = compared(counted(pair[0], base, clusters), counted(pair[1], sft, clusters))["comparisons"]
    order = np.argsort([f"q{i}" for i in range(60)])
    expected = paired_corpus_difference(sft[order], base[order], f1, groups[order] if grouped else None)
    assert row["difference"] == pytest.approx(f1(sft.sum(axis=0)) - f1(base.sum(axis=0)))
    assert row["difference"] != pytest.approx(np.mean([f1(r) for r in sft]) - np.mean([f1(r) for r in base]))
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert (row["test"], row["n"], row["clusters"]) == ("bootstrap_t", 60, 10 if grouped else None)
    assert (row["verdict"], row["p_value"]) == ("better", pytest.approx(expected.p_value))


def test_effects_on_a_corpus_metric_are_differences_of_whole_cells(tmp_path):
    train = {name: {"format": name, "loss": "all"} for name in ("chat", "raw")}
    found = [cell for cell in described(tmp_path, train=train) if cell["factors"]["method"]]
    tables = [hits(i, 0.3 + 0.1 * i) for i in range(4)]
    whole = [f1(table.sum(axis=0)) for table in tables]
    result = compared(*(counted(cell, table) for cell, table in zip(found, tables, strict=True)))
    matched = [cell["matched"] for cell in found]
    same = np.mean([v for v, m in zip(whole, matched, strict=True) if m])
    different = np.mean([v for v, m in zip(whole, matched, strict=True) if not m])
    [row] = [row for row in result["effects"] if row["effect"] == "formats: matched - mismatched"]
    assert (row["value"], row["test"]) == (pytest.approx(same - different), "bootstrap_t")
    assert sorted(corner["value"] for corner in result["interactions"]) == pytest.approx(sorted(whole))
