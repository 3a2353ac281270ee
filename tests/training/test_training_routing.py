"""Rewards of several tasks: each completion earns what its own task says, and ends where its own task ends it."""

import json
from types import SimpleNamespace

import pytest

from tunelab.data.mixtures import mix
from tunelab.data.sample import Message, Sample
from tunelab.errors import DataError
from tunelab.models.load import load_model
from tunelab.models.spec import resolve
from tunelab.scoring.score import Metric, judged
from tunelab.tasks.find import find_task
from tunelab.tasks.mixed import Mixed
from tunelab.tasks.samples import load_samples
from tunelab.training.grpo import train_grpo
from tunelab.training.job import Hardware, Job
from tunelab.training.recipe import Grpo, Recipe
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


def rollouts(bench, task, samples, **grpo):
    folder = bench.root / "made"
    (folder / "scratch").mkdir(parents=True, exist_ok=True)
    settings = {"method": "grpo", "adaptation": "full", "lr": 1e-4, "epochs": 1, "batch_size": 2}
    recipe = Recipe(**settings, grpo=Grpo(num_generations=4, **grpo))
    job = Job(recipe, "fp32", 0, Hardware("cpu", 8, False, ()), folder, folder / "scratch", lambda *_: None)
    return Rollouts(job, questions(samples, task, bench.renderer), task, bench.renderer)


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


def test_a_completion_ends_where_its_own_task_ends_it(bench):
    samples = rows()
    found = rollouts(bench, Mixed(ROUTED), samples)
    model = load_model(resolve("tiny"), "cpu", "fp32")
    trainer = SimpleNamespace(
        model=model, accelerator=SimpleNamespace(unwrap_model=lambda m: m), state=SimpleNamespace(global_step=0)
    )
    made = found.generate([sample.id for sample in samples], trainer)["made"]
    of = {task: [m for s, m in zip(samples, made, strict=True) if s.metadata["task"] == task] for task in ROUTED}
    assert max(m.tokens for m in of["words"]) == Words.max_new_tokens < max(m.tokens for m in of["numbers"])
    assert all(m.clipped for m in of["words"] if m.tokens == Words.max_new_tokens and "=" not in m.text)
    assert not any("=" in m.text for m in of["words"])
    assert any("=" in m.text for m in of["numbers"])
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
    job = Job(recipe, "fp32", 0, Hardware("cpu", 8, False, ()), folder, folder, lambda *_: None)
    model = load_model(resolve("tiny"), "cpu", "fp32")
    with pytest.raises(DataError, match=r"got 0\.0 for its own target"):
        train_grpo(job, samples, task, bench.renderer, model, bench.renderer.tokenizer)
