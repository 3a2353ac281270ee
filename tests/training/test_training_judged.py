"""Judges as rewards: each is of its tasks, no verdict is no reward, and one that hears no difference is refused."""

import threading

import pytest

from tunelab.data.mixtures import mix
from tunelab.data.sample import Message, Sample
from tunelab.errors import DataError, StepError, StudyError
from tunelab.scoring.judges.containing import judge_by_containing
from tunelab.scoring.judges.judge import Verdict
from tunelab.scoring.score import Metric, judged
from tunelab.tasks.find import find_task
from tunelab.tasks.mixed import Mixed
from tunelab.training.gold import GARBAGE
from tunelab.training.judged import SILENT_STEPS, JudgedRewards
from tunelab.training.recipe import Recipe, Rewards
from tunelab.training.rewards import combined, refuse_unjudged_tasks


class Free:
    """Answers in words."""

    name = "free"
    version = scorer_version = 1
    dataset = None
    train_split = test_split = "train"
    metrics = (Metric("exact"),)
    stop = ()
    max_new_tokens = 8

    def load(self, split, source):
        return [Sample(f"q{i}", {"question": f"What is {i}?"}, (f"word{i}",)) for i in range(20)]

    def messages(self, sample):
        return [Message("user", sample.fields["question"])]

    def target(self, sample):
        return sample.targets[0]

    def score(self, sample, output):
        return judged(output == sample.targets[0], output, {"exact": float(output == sample.targets[0])})


def holds(exchanges):
    return [judge_by_containing(exchange) for exchange in exchanges]


def says(value):
    """A judge that says the same of every answer."""
    return lambda exchanges: [Verdict(value, reason="" if value is not None else "empty")] * len(exchanges)


def values(verdicts):
    return {name: verdict.value for name, verdict in verdicts.items()}


TASK = Mixed({"free": Free(), "arithmetic": find_task("arithmetic")})
ROWS = mix(
    {"free": Free().load("train", None), "arithmetic": list(find_task("arithmetic").load("train", None))[:20]},
    {"rule": "concatenate", "seed": 0},
)[0]
REWARDS = Rewards.model_validate({"judges": {"grader": {"weight": 0.5, "of": ["free"]}}})


def test_a_judge_is_asked_about_its_own_tasks_only_and_its_verdict_is_weighed():
    asked = []

    def ask(exchanges):
        asked.extend(exchanges)
        return holds(exchanges)

    found = JudgedRewards(TASK, REWARDS, {"grader": ask}).verdicts(ROWS, ["it is word3"] * len(ROWS))
    of = {row.id: values(verdicts) for row, verdicts in zip(ROWS, found, strict=True)}
    assert of["free/q3"] == {"judge_grader": 1.0}
    assert of["free/q4"] == {"judge_grader": 0.0}
    assert all(verdicts == {} for id_, verdicts in of.items() if id_.startswith("arithmetic"))
    assert {exchange.asked for exchange in asked} == {f"What is {i}?" for i in range(20)}
    assert asked[0].references == (f"word{asked[0].asked.split()[2].strip('?')}",)
    assert REWARDS.weights() == {"task": 1.0, "judge_grader": 0.5}
    assert combined({"task": 0.0, **of["free/q3"]}, REWARDS.weights()) == 0.5


def test_a_completion_without_a_verdict_has_no_reward_where_a_verdict_counts():
    [verdicts] = JudgedRewards(TASK, REWARDS, {"grader": says(None)}).verdicts([ROWS_OF["free"]], ["x"])
    assert values(verdicts) == {"judge_grader": None}
    assert combined({"task": 1.0, **values(verdicts)}, REWARDS.weights()) is None


def test_a_judge_of_the_only_task_there_is_judges_it_by_whatever_name_the_study_calls_it():
    rewards = Rewards.model_validate({"judges": {"grader": {"weight": 1.0, "of": ["my_tasks.py:Free"]}}})
    row = Free().load("train", None)[0]
    [verdicts] = JudgedRewards(Free(), rewards, {"grader": holds}).verdicts([row], ["word0"])
    assert values(verdicts) == {"judge_grader": 1.0}
    with pytest.raises(DataError, match="8 accepted answers of free"):
        JudgedRewards(Free(), rewards, {"grader": says(0.0)}).check([row] * 9, GARBAGE)


def test_a_judge_that_says_nothing_for_several_steps_ends_the_training_and_says_why():
    judges = JudgedRewards(TASK, REWARDS, {"grader": holds})
    silent, heard = [{"judge_grader": Verdict(None, reason="no answer")}] * 2, [{"judge_grader": Verdict(0.0)}]
    other: list[dict[str, Verdict]] = [{}, {}]
    for _ in range(2):
        for step in [silent] * (SILENT_STEPS - 1) + [heard, other]:
            judges.heard(step)
    for step in [silent] * (SILENT_STEPS - 1) + [other]:
        judges.heard(step)
    with pytest.raises(StepError, match=rf"judges\.grader: no verdict in {SILENT_STEPS} steps .*'no answer'; see to"):
        judges.heard(silent)


ROWS_OF = {name: next(row for row in ROWS if row.metadata["task"] == name) for name in ("free", "arithmetic")}


def test_a_judge_is_asked_while_the_scorers_are_at_work():
    scored = threading.Event()

    def ask(exchanges):
        assert scored.wait(20)
        return holds(exchanges)

    waiting = JudgedRewards(TASK, REWARDS, {"grader": ask}).start([ROWS_OF["free"]], ["word1"])
    assert not waiting.done()
    scored.set()
    assert waiting.result(20)[0].keys() == {"judge_grader"}


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (says(1.0), r"got 1\.00 for 8 accepted answers of free and 1\.00 for"),
        (says(None), "got no verdict for 8 accepted answers"),
        (lambda exchanges: [Verdict(float(GARBAGE in e.answered)) for e in exchanges], r"got 0\.00 .* and 1\.00"),
    ],
)
def test_a_judge_that_does_not_tell_right_from_garbage_is_refused(ask, expected):
    with pytest.raises(DataError, match=rf"grpo\.rewards\.judges\.grader: {expected}"):
        JudgedRewards(TASK, REWARDS, {"grader": ask}).check(ROWS, GARBAGE)


def test_a_judge_that_tells_them_apart_passes():
    JudgedRewards(TASK, REWARDS, {"grader": holds}).check(ROWS, GARBAGE)


def test_a_judge_is_checked_for_each_task_and_one_does_not_hide_another():
    """Of both tasks together, its mean for what is right would be more than for garbage."""

    def deaf_to_numbers(exchanges):
        return [holds([e])[0] if e.asked.startswith("What is") and "word" in e.references[0] else Verdict(0.0)
                for e in exchanges]  # fmt: skip

    everything = Rewards.model_validate({"judges": {"grader": {"weight": 0.5}}})
    with pytest.raises(DataError, match=r"got 0\.00 for 8 accepted answers of arithmetic"):
        JudgedRewards(TASK, everything, {"grader": deaf_to_numbers}).check(ROWS, GARBAGE)


def test_a_judge_of_a_task_that_is_not_trained_on_is_refused():
    refuse_unjudged_tasks(REWARDS, ["free", "arithmetic"])
    with pytest.raises(StudyError, match=r"judges\.grader\.of: got 'free', expected a task of the entry.*did you mean"):
        refuse_unjudged_tasks(REWARDS, ["fre", "arithmetic"])


def test_only_judges_that_there_are_enter_the_identity():
    grpo = {"method": "grpo", "adaptation": "full", "lr": 1, "epochs": 1, "batch_size": 1}
    assert "judges" not in Recipe(**grpo).identity("fp32")["grpo"]["rewards"]
    rewarded = Recipe(**grpo, grpo={"rewards": REWARDS}).identity("fp32")
    assert rewarded["grpo"]["rewards"]["judges"] == {"grader": {"weight": 0.5, "of": ["free"]}}
