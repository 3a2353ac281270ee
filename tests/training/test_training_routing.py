"""Rewards of several tasks: each completion earns what its own task says, and ends where its own task ends it."""

import json
from types import SimpleNamespace

import pytest

from tunelab.data.mixtures import mix
from tunelab.data.sample import Message, Sample
from tunelab.errors import DataError
from tunelab.models.load import load_model
from tunelab.models.spec import resolve
from tunelab.scoring.judges.judge import Verdict
from tunelab.scoring.score import Metric, judged
from tunelab.tasks.find import find_task
from tunelab.tasks.mixed import Mixed
from tunelab.tasks.samples import load_samples
from tunelab.training.groups import teaches
from tunelab.training.grpo import train_grpo
from tunelab.training.job import Hardware, Job
from tunelab.training.judged import JudgedRewards
from tunelab.training.recipe import Grpo, Recipe, Rewards
from tunelab.training.rewards import Completion
from tunelab.training.rollouts import Rollouts, questions


class Words:
    """A string task with a graded reward: the share of the target's words that the output has."""

    name = "words"
    version = scorer_version = 1
    dataset = None
    train_split = test_split = "train"
    metrics = (Metric("share", binary=False),)
    stop = ("=",)
    max_new_tokens = 6

    def load(self, split, source):
        return [Sample(f"w{i}", {"question": f"Who has {i} nuts?"}, (f"The answer is {i}.",)) for i in range(20)]

    def messages(self, sample):
        return [Message("user", sample.fields["question"])]

    def target(self, sample):
        return sample.targets[0]

    def score(self, sample, output):
        wanted = set(sample.targets[0].split())
        share = len(wanted & set(output.split())) / len(wanted)
        return judged(share == 1, output or None, {"share": share})


NUMBERS = find_task("arithmetic")
ROUTED = {"numbers": NUMBERS, "words": Words()}
SWAPPED = {"numbers": Words(), "words": NUMBERS}


def rows():
    numbers = load_samples(NUMBERS, "train", None)[:20]
    return mix({"numbers": numbers, "words": Words().load("train", None)}, {"rule": "concatenate", "seed": 0})[0]


CPU = Hardware("cpu", 8, False, ())


def rollouts(bench, task, samples, judges=None, hardware=CPU, **grpo):
    folder = bench.root / "made"
    (folder / "scratch").mkdir(parents=True, exist_ok=True)
    settings = {"method": "grpo", "adaptation": "full", "lr": 1e-4, "epochs": 1, "batch_size": 2}
    recipe = Recipe(**settings, grpo=Grpo(num_generations=4, **grpo))
    job = Job(recipe, "fp32", 0, hardware, folder, folder / "scratch", lambda *_: None)
    return Rollouts(job, questions(samples, task, bench.renderer), task, bench.renderer, judges)


def earned(bench, task, samples, text):
    made = [Completion(text(sample), 3, False) for sample in samples]
    state = SimpleNamespace(global_step=0)
    return rollouts(bench, task, samples).reward([sample.id for sample in samples], made, state)


def test_each_completion_earns_what_its_own_task_says_and_swapped_tasks_say_otherwise(bench):
    samples = rows()
    gold = earned(bench, Mixed(ROUTED), samples, lambda s: Mixed(ROUTED).target(s))
    assert gold == [1.0] * len(samples)
    halves = earned(bench, Mixed(ROUTED), samples, lambda s: "The answer is nothing")
    assert {s.metadata["task"]: reward for s, reward in zip(samples, halves, strict=True)} == {
        "numbers": 0.0, "words": 0.75,
    }  # fmt: skip
    swapped = earned(bench, Mixed(SWAPPED), samples, lambda s: "The answer is nothing")
    assert swapped != halves
    assert {s.metadata["task"]: reward for s, reward in zip(samples, swapped, strict=True)}["words"] == 0.0


def test_lines_of_groups_name_their_task(bench):
    samples = rows()[:6]
    earned(bench, Mixed(ROUTED), samples, lambda s: "x")
    lines = [json.loads(line) for line in (bench.root / "made" / "rollouts.jsonl").read_text().splitlines()]
    assert {line["id"]: line["task"] for line in lines} == {s.id: s.metadata["task"] for s in samples}


def test_a_completion_that_a_judge_says_nothing_of_has_no_reward_and_its_group_says_why(bench):
    samples = [sample for sample in rows() if sample.metadata["task"] == "words"][:2]
    declared = Rewards.model_validate({"judges": {"grader": {"weight": 0.5, "of": ["words"]}}})

    def ask(exchanges):
        return [Verdict(None, reason="empty") if not e.answered else Verdict(1.0) for e in exchanges]

    task = Mixed(ROUTED)
    found = rollouts(bench, task, samples, judges=JudgedRewards(task, declared, {"grader": ask}), rewards=declared)
    ids = [samples[0].id] * 3 + [samples[1].id]
    made = [Completion(text, 3, False) for text in ("", "", "The answer", "The answer")]
    assert found.reward(ids, made, SimpleNamespace(global_step=0)) == [None, None, 1.0, 1.0]
    first, second = (json.loads(line) for line in (bench.root / "made" / "rollouts.jsonl").read_text().splitlines())
    assert first["rewards"] == [None, None, 1.0]
    assert first["components"] == {"task": [0.0, 0.0, 0.5], "judge_grader": [None, None, 1.0]}
    assert first["silent"] == {"judge_grader": {"empty": 2}}
    assert "silent" not in second


def test_a_group_that_only_a_judge_tells_apart_teaches():
    group = {"components": {"task": [0.0, 0.0], "judge_grader": [0.0, 1.0], "length": [0.0, 0.0]}}
    assert teaches(group)
    assert not teaches({"components": {"task": [0.0, 0.0], "judge_grader": [1.0, None], "length": [0.0, -1.0]}})


def test_form_is_what_the_own_task_of_a_completion_says_it_is(bench):
    """Of a mixture, where only one task says what an explicit answer is."""

    class Marked(Words):
        def explicit(self, text):
            return "!" in text

    task = Mixed({"numbers": NUMBERS, "words": Marked()})
    samples = [sample for sample in rows() if sample.metadata["task"] == "words"][:2]
    found = rollouts(bench, task, samples, rewards=Rewards(format=1.0))
    made = [Completion(text, 3, False) for text in ("The answer !", "The answer")]
    assert found.reward([s.id for s in samples], made, SimpleNamespace(global_step=0)) == [1.5, 0.5]


def test_no_more_completions_are_drawn_together_than_the_machine_is_said_to_hold(bench):
    samples = rows()[:6]
    found = rollouts(bench, Mixed(ROUTED), samples, hardware=Hardware("cpu", 8, False, (), rollout_batch_size=4))
    drawn = []

    def draw(requests):
        drawn.append(len(requests))
        return [[1] for _ in requests]

    found._draw(list(range(10)), SimpleNamespace(draw=draw))
    assert drawn == [4, 4, 2]


@pytest.mark.parametrize("generation", ["auto", "plain"])
def test_a_completion_ends_where_its_own_task_ends_it(bench, generation):
    samples = rows()
    found = rollouts(bench, Mixed(ROUTED), samples, hardware=Hardware("cpu", 8, False, (), generation=generation))
    model = load_model(resolve("tiny"), "cpu", "fp32")
    trainer = SimpleNamespace(
        model=model, accelerator=SimpleNamespace(unwrap_model=lambda m: m), state=SimpleNamespace(global_step=0)
    )
    made = found.generate([sample.id for sample in samples], trainer)["made"]
    assert found.drawn_by["engine"] == ("packed" if generation == "auto" else "plain")
    other = rollouts(bench, Mixed(ROUTED), samples, hardware=Hardware("cpu", 8, False, (), generation="plain"))
    assert made == other.generate([sample.id for sample in samples], trainer)["made"]
    of = {task: [m for s, m in zip(samples, made, strict=True) if s.metadata["task"] == task] for task in ROUTED}
    assert max(m.tokens for m in of["words"]) == Words.max_new_tokens < max(m.tokens for m in of["numbers"])
    assert all(m.clipped for m in of["words"] if m.tokens == Words.max_new_tokens and "=" not in m.text)
    assert not any("=" in m.text for m in of["words"])
    assert any("=" in m.text for m in of["numbers"])
    ends = [len(question.ids) + found.budget(question.sample) for question in found.questions.values()]
    assert found.longest == max(ends) > max(len(q.ids) for q in found.questions.values()) + Words.max_new_tokens
    declared = rollouts(bench, Mixed(ROUTED), samples, max_new_tokens=9)
    assert {declared.budget(sample) for sample in samples} == {9}


def test_every_task_of_a_mixture_has_its_gold_answers_checked(bench):
    class Deaf(Words):
        def score(self, sample, output):
            return judged(False, output, {"share": 0.0})

    task = Mixed({"numbers": NUMBERS, "words": Deaf()})
    samples = sorted(rows(), key=lambda s: s.metadata["task"])  # the numbers come first, and are more than are checked
    folder = bench.root / "deaf"
    recipe = Recipe(method="grpo", adaptation="full", lr=1e-4, epochs=1, batch_size=2)
    job = Job(recipe, "fp32", 0, CPU, folder, folder, lambda *_: None)
    model = load_model(resolve("tiny"), "cpu", "fp32")
    with pytest.raises(DataError, match=r"got 0\.0 for its own target"):
        train_grpo(job, samples, task, bench.renderer, model, bench.renderer.tokenizer)
