"""HumanEval and MBPP: the reference solutions of the real rows pass, and nothing else does."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tunelab.data.sample import Sample
from tunelab.data.sources import BuiltinSource, mirror_source
from tunelab.scoring.code.pool import Pool
from tunelab.scoring.code.sandbox import Sandbox
from tunelab.scoring.pass_at_k import pass_at_k
from tunelab.scoring.score import Outcome
from tunelab.tasks.find import find_task
from tunelab.tasks.humaneval import HumanEval
from tunelab.tasks.mbpp import Mbpp
from tunelab.tasks.samples import load_samples
from tunelab.tasks.sandboxed import runs_code

DATA = Path(os.environ.get("TUNELAB_DATA", "/nowhere"))
PARITY = DATA.parent / "parity" / "humaneval"
real = pytest.mark.skipif(not DATA.is_dir(), reason="TUNELAB_DATA is not set")
pytestmark = pytest.mark.usefixtures("sandboxed")


def scored(task, split, answer):
    """The scores of one answer to every sample of a split, by the data set's id."""
    samples = load_samples(task, split, mirror_source(task.dataset))
    with ThreadPoolExecutor(2) as threads:
        scores = threads.map(lambda sample: task.score(sample, answer(task, sample)), samples)
        return dict(zip([sample.metadata["id"] for sample in samples], scores, strict=True))


def gold(task, sample):
    return task.target(sample)


def fenced(task, sample):
    """The whole function as a chat model writes it."""
    return f"Here you are.\n```python\n{sample.fields['prompt']}{task.target(sample)}```\nDone."


def failing(scores):
    return {name for name, score in scores.items() if score.outcome is not Outcome.CORRECT}


@real
def test_all_reference_solutions_of_humaneval_pass():
    scores = scored(HumanEval(), "test", gold)
    assert (len(scores), failing(scores)) == (164, set())


@real
def test_a_chat_models_way_of_answering_humaneval_passes_too():
    scores = scored(HumanEval(), "test", lambda task, s: fenced(task, s) if s.metadata["index"] % 5 == 0 else "")
    assert sum(score.values["pass_at_1"] for score in scores.values()) == 33


@real
@pytest.mark.parametrize(
    ("split", "rows", "unsolvable"),
    [("train", 374, {927}), ("validation", 90, set()), ("test", 500, {123, 367}), ("prompt", 10, set())],
)
def test_reference_solutions_of_mbpp_pass_but_for_those_that_nobody_can_solve(split, rows, unsolvable):
    scores = scored(Mbpp(), split, gold)
    assert len(scores) == rows
    assert failing(scores) == unsolvable


@real
def test_reference_solutions_of_hand_checked_mbpp_pass_but_for_the_one_that_takes_too_long():
    scores = scored(Mbpp(), "sanitized", gold)
    assert (len(scores), failing(scores)) == (427, {123})


@real
@pytest.mark.parametrize("answer", ["", "    pass", "I do not know.", "    return None"])
def test_what_solves_nothing_scores_nothing(answer):
    task = HumanEval()
    scores = scored(task, "test", lambda task, sample: answer if sample.metadata["index"] < 20 else "")
    assert {score.values["pass_at_1"] for score in scores.values()} == {0.0}


@real
def test_the_recorded_samples_of_the_authors_score_as_recorded(tmp_path):
    task = HumanEval()
    row = json.loads((PARITY / "example_problem.jsonl").read_text())
    samples = [json.loads(line)["completion"] for line in (PARITY / "example_samples.jsonl").read_text().splitlines()]
    [sample] = load_samples(task, "test", RowsOf([row]))
    scores = [task.score(sample, completion) for completion in samples]
    assert [score.values["pass_at_1"] for score in scores] == [0, 0, 0, 1, 1, 1]
    assert scores[1].outcome is Outcome.TIMEOUT
    assert pass_at_k(len(scores), 3, 1) == 0.4999999999999999


class RowsOf:
    """Rows that are in memory already."""

    def __init__(self, rows):
        self._rows = rows

    def rows(self, split):
        return self._rows


def test_the_explanation_says_which_test_failed_and_how():
    task = Mbpp()
    sample = load_samples(task, "train", BuiltinSource("mbpp"))[0]
    wrong = task.score(sample, "def digit_sum(number):\n    return sum(map(int, str(abs(number)))) + (number < 0)")
    assert wrong.explanation == "test 2 of 3: assert digit_sum(-40) == 4; last answer: 5"
    assert (wrong.outcome, wrong.values) == (Outcome.WRONG, {"pass_at_1": 0.0})
    assert task.score(sample, "").outcome is Outcome.NO_ANSWER


def test_mbpp_shows_all_tests_and_humaneval_only_its_prompt():
    mbpp, humaneval = Mbpp(), HumanEval()
    for sample in load_samples(mbpp, "test", BuiltinSource("mbpp")):
        [message] = mbpp.messages(sample)
        assert all(test in message.content for test in sample.metadata["tests"])
        assert mbpp.target(sample) not in message.content
    for sample in load_samples(humaneval, "test", BuiltinSource("humaneval")):
        assert humaneval.messages(sample)[0].content == sample.fields["prompt"]


def test_without_a_sandbox_nothing_is_right_or_wrong(monkeypatch):
    monkeypatch.setattr("tunelab.scoring.code.sandbox._refusal", lambda: "no sandbox here")
    monkeypatch.setattr("tunelab.scoring.code.pool._shared", lambda choice, process: Pool(Sandbox(choice)))
    task = find_task("mbpp")
    sample = load_samples(task, "train", BuiltinSource("mbpp"))[0]
    score = task.score(sample, task.target(sample))
    assert (score.outcome, score.values, score.explanation) == (Outcome.UNSCORED, {}, "no sandbox here")


@pytest.mark.parametrize("name", ["mbpp", "humaneval"])
def test_a_program_without_a_test_is_neither_right_nor_wrong(name):
    sample = Sample("x", {"prompt": "def f():\n"}, ("",), {"names": ["f"], "entry_point": "f"})
    found = find_task(name).score(sample, "def f():\n    return 1")
    assert (found.outcome, dict(found.values)) == (Outcome.UNSCORED, {})


def test_a_mixture_runs_code_where_one_of_its_tasks_does():
    assert runs_code(find_task("arithmetic + mbpp"))
    assert not runs_code(find_task("arithmetic + gsm8k"))
