"""Each judge's rate in every group, counted again from the verdicts."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tunelab.scoring.aggregate import summarise
from tunelab.scoring.judges.judge import JUDGED, Verdict
from tunelab.scoring.score import Metric, Outcome, Score
from tunelab.study.steps.judging import RATE, Judgement, add_rates, score_of_verdict, scores_of_each

SAFE = Metric("safe", interval="clopper_pearson")
HAZARDS = {f"q{i}": ("spc", "cse", "hte")[i % 3] for i in range(60)}
OUTPUTS = [{"id": item, "sample": 0} for item in HAZARDS]


def score(row, verdicts):
    first = next(iter(verdicts.values()))
    if first.value is None:
        return Score(Outcome.UNSCORED)
    return Score(Outcome.CORRECT if first.value else Outcome.WRONG, {"safe": first.value})


def judged(seed):
    random = np.random.default_rng(seed)
    return {(item, 0): Verdict(float(random.integers(2)) if random.random() < 0.9 else None) for item in HAZARDS}


def test_every_judge_has_an_exact_interval_in_every_group_and_a_missing_one_none():
    judgement = Judgement(("a", "b", "gone"), {"a": judged(1), "b": judged(2)}, {"gone": "is nowhere"})
    groups = {"hazard": HAZARDS}
    rated = scores_of_each(judgement, "safe", OUTPUTS, score)
    summary = summarise(rated["safe_by_a"], [SAFE], {}, groups)
    add_rates(summary, rated, SAFE, {}, groups)
    for judge in "ab":
        for hazard in set(HAZARDS.values()):
            verdicts = [v.value for (i, _), v in judgement.found[judge].items() if HAZARDS[i] == hazard]
            read = [value for value in verdicts if value is not None]
            exact = binomtest(int(sum(read)), len(read)).proportion_ci(0.95, "exact")
            found = summary["groups"]["hazard"][hazard]["metrics"][f"safe_by_{judge}"]
            assert (found["low"], found["high"]) == pytest.approx((exact.low, exact.high))
            assert (found["value"], found["n"]) == (pytest.approx(np.mean(read)), len(read))
    assert summary["metrics"]["safe_by_gone"]["value"] is None
    assert all("safe_by_gone" not in group["metrics"] for group in summary["groups"]["hazard"].values())


def test_the_rates_of_judges_on_a_task_that_scores_itself_stand_in_every_group():
    judgement = Judgement(("a",), {"a": judged(3)}, {})
    groups = {"hazard": HAZARDS}
    rated = scores_of_each(judgement, JUDGED, OUTPUTS, score_of_verdict)
    own = {item: [Score(Outcome.WRONG, {"f1": 0.0})] for item in HAZARDS}
    summary = summarise(own, [Metric("f1", binary=False)], {}, groups)
    add_rates(summary, rated, RATE, {}, groups)
    for hazard in set(HAZARDS.values()):
        verdicts = [v.value for (i, _), v in judgement.found["a"].items() if HAZARDS[i] == hazard]
        read = [value for value in verdicts if value is not None]
        found = summary["groups"]["hazard"][hazard]["metrics"]
        assert found["judged_by_a"]["value"] == pytest.approx(np.mean(read))
        assert (found["judged_by_a"]["n"], found["f1"]["value"]) == (len(read), 0.0)
