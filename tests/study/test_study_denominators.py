"""n is what it had to be, or the cell has no value and says so."""

import json
import os
from pathlib import Path

import pytest
from study_files import STUDY, changed, compiled, put

from tunelab.data.readers import read_rows
from tunelab.scoring.aggregate import summarise
from tunelab.scoring.score import Metric, Outcome, Score
from tunelab.study.comparison import compare
from tunelab.study.denominators import planned_rows, with_denominator
from tunelab.study.exports import EXPORTS, final_metrics, summary, write_exports
from tunelab.study.scored import Scored
from tunelab.tasks.find import find_task

HUB = os.environ.get("TUNELAB_DATA")
METRIC = Metric("numeric")
GSM8K = changed(task="gsm8k", train={}, evaluation={}, evaluate={"chat": {"format": "chat", "sample": 0.2}})


def rows_of(found, cell="base/chat"):
    [rows] = [c["rows"] for c in found.compare.settings["cells"] if c["cell"] == cell]
    return rows


def scores(n, right=0, unscored=0):
    found = {f"q{i}": [Score(Outcome.CORRECT, {"numeric": 1.0} if i < right else {"numeric": 0.0})] for i in range(n)}
    return found | {f"q{i}": [Score(Outcome.UNSCORED)] for i in range(n - unscored, n)}


def summed(n, right=0, unscored=0, unanswered=0, available=None):
    """A summary as the score step writes it."""
    return summarise(scores(n, right, unscored), [METRIC]) | {"unanswered": unanswered, "available": available}


def test_a_fifth_of_the_published_rows_is_263_and_fewer_are_an_error(tmp_path):
    rows = rows_of(compiled(tmp_path, GSM8K))
    good = with_denominator(rows, summed(263, 90, available=1319))
    assert (good["expected"], good["published"], good.get("error"), good.get("note")) == (263, 1319, None, None)
    assert good["metrics"]["numeric"]["value"] == 90 / 263
    short = with_denominator(rows, summed(250, 90, available=1250))
    assert short["error"] == "n: got 250, expected 263"
    assert short["metrics"]["numeric"]["value"] is None


def test_answers_that_got_lost_are_an_error_and_unscored_ones_are_not(tmp_path):
    rows = rows_of(compiled(tmp_path, GSM8K))
    lost = with_denominator(rows, summed(250, unanswered=13, available=1319))
    assert lost["error"] == "n: got 250, expected 263 (13 of 263 unanswered)"
    unscored = with_denominator(rows, summed(263, 90, unscored=13, available=1319))
    assert "error" not in unscored
    assert (unscored["n"], unscored["scored"]) == (263, 250)


def test_a_hub_split_of_another_size_is_an_error_even_where_n_fits(tmp_path):
    rows = rows_of(compiled(tmp_path, put(GSM8K, "evaluate.chat", {"format": "chat", "rows": 100})))
    assert "error" not in with_denominator(rows, summed(100, available=1319))
    found = with_denominator(rows, summed(100, available=1250))
    assert found["error"] == "n: got 1250 rows of the split on the hub, expected 1319"


def mirror(folder, monkeypatch, rows):
    path = folder / "mirror" / "openai" / "gsm8k" / "main" / "test.jsonl"
    path.parent.mkdir(parents=True)
    row = json.dumps({"question": "How many?", "answer": "#### 1"}) + "\n"
    path.write_text(row * rows)
    monkeypatch.setenv("TUNELAB_DATA", str(folder / "mirror"))


def test_a_mirror_with_part_of_a_split_is_told_and_its_own_size_counts(tmp_path, monkeypatch):
    mirror(tmp_path, monkeypatch, 50)
    rows = rows_of(compiled(tmp_path, GSM8K))
    found = with_denominator(rows, summed(10, available=50))
    assert (found["expected"], found["note"], found.get("error")) == (10, "mirror holds 50 of 1319 rows", None)
    assert with_denominator(rows, summed(9, available=50))["error"] == "n: got 9, expected 10"


def test_what_an_evaluation_declares_counts_everywhere(tmp_path, monkeypatch):
    mirror(tmp_path, monkeypatch, 50)
    declared = rows_of(compiled(tmp_path, put(GSM8K, "evaluate.chat.expected", 263)))
    assert with_denominator(declared, summed(10, available=50))["error"] == "n: got 10, expected 263"
    own = rows_of(compiled(tmp_path, put(STUDY, "evaluate.chat.expected", 40)), "base/chat")
    assert with_denominator(own, summed(39, available=1000))["error"] == "n: got 39, expected 40"
    assert with_denominator(own, summed(40, available=1000))["expected"] == 40


def test_rows_without_a_published_size_have_no_expected_n_but_must_be_answered(tmp_path):
    (tmp_path / "own.jsonl").write_text("{}\n")
    own = put(GSM8K, "data.files.test", "own.jsonl")
    for raw in (own, put(GSM8K, "data.source", "builtin"), changed(train={})):
        rows = rows_of(compiled(tmp_path, raw))
        assert with_denominator(rows, summed(7, available=9))["expected"] is None
        assert with_denominator(rows, summed(6, unanswered=1))["error"] == "n: got 6, expected 7 (1 of 7 unanswered)"


def test_declaring_an_expected_n_generates_and_scores_nothing_anew(tmp_path):
    one, two = compiled(tmp_path, STUDY), compiled(tmp_path, put(STUDY, "evaluate.chat.expected", 40))
    assert {n: s.fingerprint for n, s in one.scores.items()} == {n: s.fingerprint for n, s in two.scores.items()}


@pytest.mark.skipif(not HUB, reason="TUNELAB_DATA is not set")
@pytest.mark.parametrize("task", ["gsm8k", "code_to_code_trans"])
def test_published_sizes_are_those_of_complete_data_sets(task):
    dataset = find_task(task).dataset
    for split, size in dataset.sizes.items():
        assert len(read_rows(Path(HUB) / dataset.repo / dataset.config / f"{dataset.splits[split]}.jsonl")) == size


def compared(folder, **numbers):
    """The comparison of base and one variant under one evaluation, each with its summary's numbers."""
    raw = changed(train={"sft": {"format": "chat", "loss": "all"}}, evaluate={"chat": {"format": "chat"}},
                  baselines={"sft": {"chat": 0.3}})  # fmt: skip
    cells = compiled(folder, raw).compare.settings["cells"]
    found, holes = {}, []
    for cell in cells:
        asked = numbers.get(cell["variant"])
        if asked is None:
            holes.append(cell)
            continue
        unanswered = asked.pop("unanswered", 0)
        summed_up = with_denominator(cell["rows"], summed(**asked, unanswered=unanswered))
        found[cell["cell"]] = Scored(cell, scores(**asked), summed_up, "v1", metric=METRIC)
    return compare(found, 0.05, holes=holes) | {"missing": [{**cell, "error": "no result: x"} for cell in holes]}


def test_a_cell_with_another_n_is_compared_with_nothing_and_meets_no_threshold(tmp_path):
    result = compared(tmp_path, base={"n": 50, "right": 10}, sft={"n": 50, "right": 40, "unanswered": 5})
    error = "n: got 50, expected 55 (5 of 55 unanswered)"
    assert [row["refused"] for row in result["comparisons"]] == [f"sft/chat: {error}"]
    assert [row["verdict"] for row in result["thresholds"]] == ["missing"]
    assert [cell.get("error") for cell in result["cells"]] == [None, error]


def test_tables_have_every_number_and_nothing_where_there_is_none(tmp_path):
    result = compared(tmp_path, base={"n": 50, "right": 10}, sft={"n": 50, "right": 40, "unscored": 4})
    base, sft = final_metrics(result, "s")
    about = {"study": "s", "variant": "sft", "evaluation": "chat", "task": "arithmetic", "metric": "numeric"}
    assert about.items() <= sft.items()
    counts = ("n", "expected_n", "scored", "unscored", "unanswered", "threshold", "verdict", "error")
    assert [sft[name] for name in counts] == [50, None, 46, 4, 0, 0.3, "pass", None]
    assert (sft["value"], sft["worst_case"], sft["best_case"]) == (40 / 46, 40 / 50, 44 / 50)
    assert (base["value"], base["threshold"], base["verdict"]) == (0.2, None, None)
    wide = {row["variant"]: row for row in summary(result, "s")}
    assert wide["sft"]["chat_difference"] == result["comparisons"][0]["difference"]
    assert (wide["sft"]["chat_n"], wide["sft"]["chat_threshold_verdict"]) == (50, "pass")
    assert (wide["base"]["chat_value"], wide["base"]["chat_difference"]) == (0.2, None)


def test_scored_and_unscored_of_a_metric_add_up_to_n(tmp_path):
    result = compared(tmp_path, base={"n": 50, "right": 10}, sft={"n": 50, "right": 40, "unscored": 4})
    nobody = {"value": None, "low": None, "high": None, "method": "none", "n": 0}
    result["cells"][1]["metrics"]["safe_by_gone"] = nobody
    rows = [row for row in final_metrics(result, "s") if row["variant"] == "sft"]
    assert [(row["metric"], row["scored"], row["unscored"]) for row in rows] == [
        ("numeric", 46, 4), ("safe_by_gone", 0, 50)]  # fmt: skip


@pytest.mark.parametrize(
    "sft", [None, {"n": 5, "unscored": 5}, {"n": 5, "right": 5, "unanswered": 1}], ids=["hole", "no verdict", "wrong n"]
)
def test_a_missing_value_is_empty_and_never_zero(tmp_path, sft):
    result = compared(tmp_path, base={"n": 5, "right": 1}, sft=sft)
    write_exports(result, "s", tmp_path)
    assert all((tmp_path / name).is_file() for name in EXPORTS)
    [row] = [r for r in json.loads((tmp_path / "final_metrics.json").read_text()) if r["variant"] == "sft"]
    assert [row[name] for name in ("value", "low", "high")] == [None] * 3
    assert row["verdict"] == "missing"
    header, *lines = [line.split(",") for line in (tmp_path / "final_metrics.csv").read_text().splitlines()]
    [line] = [found for found in lines if found[header.index("variant")] == "sft"]
    assert [line[header.index(name)] for name in ("value", "low", "high")] == [""] * 3
    header, *lines = [line.split(",") for line in (tmp_path / "summary.csv").read_text().splitlines()]
    [line] = [found for found in lines if found[header.index("variant")] == "sft"]
    assert line[header.index("chat_value")] == line[header.index("chat_difference")] == ""


@pytest.mark.parametrize(
    ("asked", "n"),
    [
        ({"sample": 0.2}, 263),
        ({"sample": 1.0}, 1319),
        ({}, 1319),
        ({"rows": 40}, 40),
        ({"rows": 40, "expected": 39}, 39),
    ],
)
def test_a_plan_knows_n_before_the_rows_are_there(tmp_path, asked, n):
    rows = rows_of(compiled(tmp_path, put(GSM8K, "evaluate.chat", {"format": "chat", **asked})))
    assert planned_rows({**rows, "published": 1319}) == n
    assert planned_rows({**rows, "published": None, "size": 0.2, "declared": None}) is None
