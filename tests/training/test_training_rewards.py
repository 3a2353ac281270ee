"""Rewards of GRPO as functions: what each earns at its corners, and what is never made a zero."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunelab.data.sample import Sample
from tunelab.scoring.score import Metric, Outcome, Score, judged
from tunelab.tasks.find import find_task
from tunelab.training.recipe import Rewards
from tunelab.training.rewards import Completion, combined, components, format_reward, length_reward

ASKED = Sample("a", {"question": "1 + 1?"}, ("#### 2",), {})


class Plain:
    """A task that does not say how an answer is marked."""

    metrics = (Metric("exact"),)


def form(text, clipped=False, task="arithmetic"):
    found = find_task(task)
    return format_reward(found, found.score(ASKED, text), Completion(text, 9, clipped))


@pytest.mark.parametrize("task", ["arithmetic", "gsm8k"])
@pytest.mark.parametrize(
    ("text", "earned"),
    [("1 + 1 = 2\n#### 2", 1), ("#### 3", 1), ("The answer is 2.", 1), ("\\boxed{2}", 1), ("1 + 1 = 2", 0), ("2", 0),
     ("####", 0), ("#### two", 0), ("", 0), ("The answer is not clear", 0)],
)  # fmt: skip
def test_an_answer_behind_a_marker_earns_the_format_reward_right_or_wrong(text, earned, task):
    assert form(text, task=task) == earned


def test_an_output_that_the_budget_cut_has_no_format():
    assert form("#### 2", clipped=True) == 0


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_task_without_markers_asks_for_an_answer_that_could_be_judged(outcome):
    score = Score(outcome, {"exact": 0.0})
    expected = outcome in (Outcome.CORRECT, Outcome.WRONG)
    assert format_reward(Plain(), score, Completion("x", 1, clipped=False)) == expected


@pytest.mark.parametrize(
    ("tokens", "earned"), [(0, 0), (16_384, 0), (17_408, -0.25), (18_432, -0.5), (20_480, -1), (16_385, -1 / 4096)]
)
def test_the_length_reward_is_the_papers_soft_punishment(tokens, earned):
    assert length_reward(tokens, 20_480, 4096) == pytest.approx(earned)


@given(st.integers(1, 2000), st.integers(1, 3000), st.data())
def test_the_length_reward_stays_in_its_range_and_never_grows_with_length(budget, buffer, data):
    tokens = data.draw(st.integers(0, budget))
    assert -1 <= length_reward(tokens, budget, buffer) <= 0
    assert length_reward(budget, budget, buffer) == -1
    assert length_reward(tokens, budget, buffer) <= length_reward(max(0, tokens - 1), budget, buffer)


def earned(declared, text="#### 2", tokens=9, budget=10):
    task = find_task("arithmetic")
    return components(task, task.score(ASKED, text), Completion(text, tokens, clipped=False), declared, budget)


def test_only_declared_rewards_are_computed_and_the_buffer_is_a_fifth_of_the_budget():
    assert earned(Rewards()) == {"task": 1}
    assert earned(Rewards(format=0.1)) == {"task": 1, "format": 1}
    assert earned(Rewards(length=0.1)) == {"task": 1, "length": -0.5}
    assert earned(Rewards(length=0.1, length_buffer=4)) == {"task": 1, "length": -0.75}
    assert earned(Rewards(length=0.1), tokens=2, budget=2) == {"task": 1, "length": -1}


def test_the_sum_is_weighted_and_a_missing_verdict_is_no_zero():
    weights = Rewards(task=2, format=0.5, length=0.25).weights()
    assert combined({"task": 1.0, "format": 1.0, "length": -1.0}, weights) == 2.25
    assert combined({"task": 0.0, "format": 0.0, "length": 0.0}, weights) == 0
    assert combined({"task": None, "format": 1.0, "length": 0.0}, weights) is None


def test_a_metric_in_points_is_a_fraction_and_an_unscored_output_has_no_reward():
    class Points(Plain):
        metrics = (Metric("exact", scale=100),)

    made = Completion("x", 1, clipped=False)
    right = judged(True, "x", {"exact": 100.0})
    assert components(Points(), right, made, Rewards(), 10) == {"task": 1}
    assert components(Points(), Score(Outcome.UNSCORED), made, Rewards(format=1), 10) == {"task": None, "format": 0}
