"""Any scorer: one bad sample is counted, a broken contract is refused."""

import json

import pytest

from tunelab.data.sample import Sample
from tunelab.errors import DataError
from tunelab.scoring.score import Metric, Outcome, Score
from tunelab.study.steps.score import majority, read_scores, score_output, score_row
from tunelab.tasks.arithmetic import Arithmetic

SAMPLE = Sample("test-7", {}, ("#### 4",))
ROW = {"output": "4"}


class Returns(Arithmetic):
    """A task whose scorer returns what it is given."""

    metrics = (Metric("numeric"), Metric("length", binary=False), Metric("bleu", binary=False, total=float))

    def __init__(self, score):
        self.returned = score

    def score(self, sample, output):
        return self.returned


class Divides(Arithmetic):
    def score(self, sample, output):
        return 1 / 0


BREACHES = {
    "no headline": (Score(Outcome.WRONG, {"length": 3}), "got values for length, expected a value for 'numeric'"),
    "no value": (Score(Outcome.CORRECT), "got values for no metric, expected a value for 'numeric'"),
    "unknown metric": (Score(Outcome.WRONG, {"numeric": 0, "rouge": 3}), "and only for numeric, length, bleu"),
    "not a number": (
        Score(Outcome.WRONG, {"numeric": float("nan")}),
        "got nan for 'numeric', expected a finite number",
    ),
    "words": (Score(Outcome.WRONG, {"numeric": "0"}), "got '0' for 'numeric', expected a finite number"),
    "values of unscored": (Score(Outcome.UNSCORED, {"numeric": 0}), "expected none for an unscored sample"),
    "no parts": (Score(Outcome.WRONG, {"numeric": 0, "bleu": 0}), "got parts for no metric, expected parts for bleu"),
    "parts of no corpus metric": (
        Score(Outcome.WRONG, {"numeric": 0}, parts={"numeric": (1,)}),
        "got parts for numeric, expected parts for none",
    ),
    "parts without a value": (Score(Outcome.WRONG, {"numeric": 0}, parts={"bleu": (1,)}), "expected parts for none"),
    "empty parts": (Score(Outcome.WRONG, {"numeric": 0, "bleu": 0}, parts={"bleu": ()}), "got the parts () of 'bleu'"),
    "an infinite part": (
        Score(Outcome.WRONG, {"numeric": 0, "bleu": 0}, parts={"bleu": (1, float("inf"))}),
        "got the parts (1, inf) of 'bleu', expected one finite number or more",
    ),
    "a bare number": (1.0, "returned 1.0, expected a Score"),
}


def test_a_sample_on_which_the_scorer_fails_is_unscored_and_says_why():
    for row in (ROW, ROW | {"finish": "length"}):
        assert score_output(Divides(), SAMPLE, row) == Score(
            Outcome.UNSCORED, explanation="ZeroDivisionError: division by zero"
        )


@pytest.mark.parametrize("breach", BREACHES)
def test_a_score_that_breaks_the_contract_names_task_sample_and_expectation(breach):
    returned, expected = BREACHES[breach]
    with pytest.raises(DataError, match="task arithmetic, sample test-7") as refused:
        score_output(Returns(returned), SAMPLE, ROW)
    assert expected in str(refused.value)


def test_a_score_without_a_secondary_metric_is_kept_and_a_cut_answer_is_truncated():
    score = Score(Outcome.WRONG, {"numeric": 0})
    assert score_output(Returns(score), SAMPLE, ROW) == score
    assert score_output(Returns(score), SAMPLE, ROW | {"finish": "length"}).outcome is Outcome.TRUNCATED
    assert score_output(Returns(Score(Outcome.UNSCORED)), SAMPLE, ROW).outcome is Outcome.UNSCORED


def test_parts_and_cluster_survive_the_file_and_are_absent_where_there_are_none():
    score = Score(Outcome.WRONG, {"numeric": 0, "bleu": 0.5}, parts={"bleu": (1.0, 2.0)})
    row = score_row(Sample("test-7", {}, (), {"cluster": "passage 3"}), {"id": "test-7", "sample": 0}, score)
    assert row["cluster"] == "passage 3"
    assert read_scores([json.loads(json.dumps(row))]) == {"test-7": [score]}
    assert set(score_row(SAMPLE, row, Score(Outcome.UNSCORED))) == {"id", "sample", "outcome", "values"}


def test_the_majority_is_the_share_of_the_most_frequent_target():
    samples = [Sample(str(i), {}, (target,)) for i, target in enumerate("aabcacaa")]
    assert majority(samples) == 5 / 8
    assert majority([]) is None
