"""Thresholds: where they are said, what is refused before anything runs, and how they are judged."""

import pytest
from study_files import STUDY, changed, compiled, opened, put

from tunelab.errors import StudyError
from tunelab.scoring.aggregate import summarise
from tunelab.scoring.score import Metric, Outcome, Score
from tunelab.stats import wilson
from tunelab.study.comparison import compare
from tunelab.study.scored import Scored


def asked(found):
    """What each cell must reach, of the cells that must reach anything."""
    return {c["cell"]: c["at_least"] for c in found.compare.settings["cells"] if c["at_least"]}


def test_a_number_is_about_the_headline_and_a_mapping_about_the_metrics_that_it_names(tmp_path):
    evaluate = {"gsm": {"format": "chat", "task": "gsm8k"}, "sums": {"format": "raw"}}
    baselines = {"sft_chat": {"gsm": {"strict": 0.2, "flexible": 0.3}}, "base": {"sums": 0.1, "gsm": 0.4}}
    found = asked(compiled(tmp_path, changed(evaluate=evaluate, baselines=baselines)))
    assert found == {
        "sft_chat/gsm": {"strict": 0.2, "flexible": 0.3},
        "base/sums": {"numeric": 0.1},
        "base/gsm": {"numeric": 0.4},
    }


def test_of_two_minimums_for_a_metric_the_higher_counts(tmp_path):
    raw = put(STUDY, "evaluate.chat.at_least", {"numeric": 0.3})
    found = asked(compiled(tmp_path, raw | {"baselines": {"sft_chat": {"chat": 0.5}, "sft_raw": {"chat": 0.1}}}))
    assert found == {name: {"numeric": 0.5 if name == "sft_chat/chat" else 0.3}
                     for name in ("base/chat", "sft_chat/chat", "sft_raw/chat")}  # fmt: skip


def test_a_name_stands_for_all_its_seeds_and_all_points_of_a_sweep(tmp_path):
    baselines = {"sft_chat": {"chat": 0.5}}
    seeded = asked(compiled(tmp_path, changed(baselines=baselines, seeds=[0, 1])))
    assert set(seeded) == {"sft_chat#0/chat", "sft_chat#1/chat"}
    swept = asked(compiled(tmp_path, changed(baselines=baselines, sweep={"recipe.lr": [0.1, 0.2]})))
    assert set(swept) == {"sft_chat@lr=0.1/chat", "sft_chat@lr=0.2/chat"}


@pytest.mark.parametrize(
    ("baselines", "message"),
    [
        ({"sft_chta": {"chat": 0.5}}, "baselines: got 'sft_chta', expected a variant; did you mean 'sft_chat'?"),
        ({"sft_chat": {"cat": 0.5}}, "baselines.sft_chat: unknown evaluation 'cat'; did you mean 'chat'?"),
        (
            {"sft_chat": {"chat": {"numerik": 0.5}}},
            "baselines.sft_chat.chat: unknown metric 'numerik'; did you mean 'numeric'?",
        ),
        ({"sft_chat": {"chat": float("nan")}}, "baselines.sft_chat.chat.numeric: got nan, expected a finite number"),
    ],
)
def test_what_the_study_does_not_have_is_refused_with_the_nearest_name(tmp_path, baselines, message):
    with pytest.raises(StudyError) as refused:
        compiled(tmp_path, changed(baselines=baselines))
    assert str(refused.value).removeprefix(f"{tmp_path}/study.yaml: ") == message


def test_a_threshold_on_a_cell_that_the_study_leaves_out_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"baselines\.sft_raw\.chat: chat does not score sft_raw"):
        compiled(tmp_path, changed(mismatch="skip", baselines={"sft_raw": {"chat": 0.5}}))


def test_a_selection_asks_nothing_of_what_it_leaves_out(tmp_path):
    baselines = {"sft_chat": {"chat": 0.5, "raw": 0.1}, "sft_raw": {"raw": 0.2}}
    raw = changed(baselines=baselines)
    assert asked(compiled(tmp_path, raw, "train=sft_chat", "evaluate=chat")) == {"sft_chat/chat": {"numeric": 0.5}}
    declared = changed(baselines=baselines | {"gone": {"raw": 0.2}}, unselected=["gone"])
    assert set(asked(compiled(tmp_path, declared))) == {"sft_chat/chat", "sft_chat/raw", "sft_raw/raw"}


def test_a_changed_minimum_trains_generates_and_scores_nothing_anew(tmp_path):
    one = compiled(tmp_path, changed(baselines={"sft_chat": {"chat": 0.5}}))
    two = compiled(tmp_path, changed(baselines={"sft_chat": {"chat": 0.6}}))
    assert {n: s.fingerprint for n, s in one.scores.items()} == {n: s.fingerprint for n, s in two.scores.items()}
    assert one.compare.fingerprint != two.compare.fingerprint


@pytest.mark.parametrize(
    ("right", "verdict"), [(60, "pass"), (33, "pass (uncertain)"), (27, "fail (uncertain)"), (10, "fail")]
)
def test_a_verdict_comes_with_how_far_the_interval_reaches(tmp_path, right, verdict):
    found = compiled(tmp_path, changed(baselines={"sft_chat": {"chat": 0.3}}))
    [cell] = [c for c in found.compare.settings["cells"] if c["cell"] == "sft_chat/chat"]
    scores = {
        f"q{i}": [Score(Outcome.CORRECT if i < right else Outcome.WRONG, {"numeric": float(i < right)})]
        for i in range(100)
    }
    [row] = compare({cell["cell"]: Scored(cell, scores, summarise(scores, [Metric("numeric")]), "v1")}, 0.05)[
        "thresholds"
    ]
    expected = wilson(right, 100)
    assert row == {"cell": "sft_chat/chat", "metric": "numeric", "at_least": 0.3, "value": right / 100,
                   "low": expected.low, "high": expected.high, "verdict": verdict}  # fmt: skip


def test_a_cell_without_a_result_has_not_met_its_threshold(tmp_path):
    found = compiled(tmp_path, changed(baselines={"sft_chat": {"chat": 0.3}}))
    rows = compare({}, 0.05, holes=found.compare.settings["cells"])["thresholds"]
    assert rows == [{"cell": "sft_chat/chat", "metric": "numeric", "at_least": 0.3, "verdict": "missing"}]


def test_points_of_a_sweep_cannot_ask_for_different_minimums(tmp_path):
    raw = changed(baselines={"sft_chat": {"chat": 0.3}}, sweep={"baselines.sft_chat.chat": [0.1, 0.2]})
    assert len(opened(tmp_path, raw)) == 2
    with pytest.raises(StudyError, match="sweep: baselines differs"):
        compiled(tmp_path, raw)
