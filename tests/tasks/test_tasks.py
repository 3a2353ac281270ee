"""Every task of the registry keeps the contract: gold answers score, garbage does not, splits are apart."""

import json
import os
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from tunelab.data.leaks import CERTAIN, Asked, find_leaks
from tunelab.data.sample import Message, Sample
from tunelab.data.sources import BuiltinSource, FileSource, mirror_source
from tunelab.errors import DataError, StudyError
from tunelab.scoring.judges.judge import Verdict
from tunelab.scoring.numbers import first_number
from tunelab.scoring.score import Metric, Outcome
from tunelab.tasks.accepted import accepted_answers, exchange_of
from tunelab.tasks.arithmetic_problems import problems
from tunelab.tasks.find import find_task, installed
from tunelab.tasks.identity import rows_identity, scorer_identity
from tunelab.tasks.samples import checked_rows, item_of, load_samples, question_text
from tunelab.tasks.sandboxed import runs_code
from tunelab.tasks.task import has_choices, is_judged

GARBAGE = "zxqv blorp"
TASKS = sorted(installed())
JUDGED = [name for name in TASKS if is_judged(find_task(name))]
WITH_GOLD = [name for name in TASKS if name not in JUDGED]
FREE_TEXT = {
    "cnn_dailymail",
    "code_refinement",
    "code_text_to_code",
    "code_to_code_trans",
    "code_to_text",
    "hotpotqa",
    "humaneval",
    "mbpp",
    "squad_v2",
}
"""Tasks in which any words are an answer."""
USER_TASK = """
from __future__ import annotations
from dataclasses import dataclass
from tunelab.data.sample import Message, Sample
from tunelab.scoring.score import Metric, judged

@dataclass
class Echo:
    name: str = "echo"
    version: int = 3
    scorer_version: int = 5
    dataset: object | None = None
    train_split: str = "train"
    test_split: str = "test"
    metrics: tuple[Metric, ...] = (Metric("same"),)
    stop: tuple[str, ...] = ()
    max_new_tokens: int = 8

    def load(self, split, source):
        yield Sample(f"{split}-0", {"word": "ja"}, ("ja",))
    def messages(self, sample):
        return [Message("user", sample.fields["word"])]
    def target(self, sample):
        return sample.targets[0]
    def score(self, sample, output):
        return judged(output == sample.targets[0], output, {"same": float(output == sample.targets[0])})
"""


def shipped(name, split):
    """A split's samples without a network: generated, or the rows that the task ships."""
    task = find_task(name)
    return load_samples(task, split, None if task.dataset is None else BuiltinSource(name))


def splits_of(task):
    """The splits that a task is trained and scored on: one of them for a task that is only evaluated."""
    return [split for split in (task.train_split, task.test_split) if split]


@pytest.mark.parametrize("name", TASKS)
def test_a_task_keeps_the_contract(name):
    task = find_task(name)
    assert (task.name, type(task.version)) == (name, int)
    assert task.max_new_tokens > 0
    assert all(isinstance(metric, Metric) for metric in task.metrics)
    assert all(stop for stop in task.stop)
    assert task.dataset is None or {*splits_of(task)} <= {*task.dataset.splits, *task.dataset.joins}
    assert task.train_split or name in {*JUDGED, "humaneval", "math500"}


@pytest.mark.parametrize("name", WITH_GOLD)
def test_gold_answers_score_one_and_garbage_scores_zero(name, request):
    task = find_task(name)
    if runs_code(task):
        request.getfixturevalue("sandboxed")
    headline = task.metrics[0]
    for sample in (s for split in splits_of(task) for s in shipped(name, split)):
        gold, garbage = task.score(sample, task.target(sample)), task.score(sample, GARBAGE)
        assert (gold.outcome, gold.values[headline.name]) == (Outcome.CORRECT, headline.scale)
        assert garbage.values[headline.name] == 0
        assert garbage.outcome in (Outcome.WRONG, Outcome.NO_ANSWER)
        assert set(gold.values) == set(garbage.values) <= {metric.name for metric in task.metrics}


@pytest.mark.parametrize("name", JUDGED)
def test_a_judged_output_scores_what_the_first_judge_says(name):
    task = find_task(name)
    headline = task.metrics[0]
    samples = shipped(name, task.test_split)
    assert samples
    for sample in samples:
        for value, outcome in ((1.0, Outcome.CORRECT), (0.0, Outcome.WRONG)):
            score = task.judged_score(sample, "words", {"first": Verdict(value), "second": Verdict(1 - value)})
            assert (score.outcome, score.values[headline.name]) == (outcome, value * headline.scale)


@pytest.mark.parametrize("name", JUDGED)
def test_what_no_judge_could_judge_is_unscored_and_says_why(name):
    task = find_task(name)
    sample = shipped(name, task.test_split)[0]
    silent = {"first": Verdict(None, ("hm",), "neither word"), "second": Verdict(1.0)}
    found = {
        "no judge": task.score(sample, "words"),
        "empty response": task.judged_score(sample, " \n", {"first": Verdict(1.0)}),
        "first: neither word": task.judged_score(sample, "words", silent),
    }
    assert {why: score.explanation for why, score in found.items()} == {why: why for why in found}
    assert {(score.outcome, *score.values) for score in found.values()} == {(Outcome.UNSCORED,)}


@pytest.mark.parametrize("name", JUDGED)
def test_a_judge_reads_what_was_asked_and_answered(name):
    task = find_task(name)
    for sample in shipped(name, task.test_split):
        assert task.exchange(sample, "words") == (task.messages(sample)[-1].content, "words")


@pytest.mark.parametrize("name", [name for name in TASKS if name not in JUDGED])
def test_accepted_answers_are_what_a_target_comes_to(name):
    task = find_task(name)
    for sample in shipped(name, task.test_split)[:12]:
        accepted, target = accepted_answers(task, sample), task.target(sample)
        assert accepted
        assert all(text.strip() for text in accepted)
        assert accepted[0] in (target, task.score(sample, target).answer) or (
            task.score(sample, accepted[0]).outcome is Outcome.CORRECT
        )
        assert exchange_of(task, sample, "words") == (task.messages(sample)[-1].content, "words", accepted)


@pytest.mark.parametrize("name", [name for name in TASKS if find_task(name).train_split])
def test_training_and_test_rows_are_apart(name):
    task = find_task(name)
    splits = [shipped(name, task.train_split), shipped(name, task.test_split)]
    train, test = [[Asked(s.id, question_text(task, s), item_of(task, s)) for s in samples] for samples in splits]
    assert len({asked.id for asked in train + test}) == len(train) + len(test)
    assert all(asked.text.strip() for asked in train + test)
    assert [leak for leak in find_leaks(train, test) if leak.kind in CERTAIN] == []


@pytest.mark.parametrize("name", TASKS)
def test_samples_survive_json(name):
    for sample in shipped(name, find_task(name).test_split)[:20]:
        again = Sample.from_json(json.loads(json.dumps(sample.to_json())))
        assert again == sample
        assert find_task(name).messages(again) == find_task(name).messages(sample)


def test_every_annotated_calculation_of_the_gsm8k_rows_is_right():
    answers = [s.targets[0] for split in ("train", "test") for s in shipped("gsm8k", split)]
    found = [match for answer in answers for match in re.findall(r"<<([^=]+)=([^>]+)>>", answer)]
    assert len(found) > 20
    for calculation, result in found:
        terms = re.sub(r"[\d.]+", lambda number: f"Decimal('{number[0]}')", calculation)
        assert eval(terms, {"Decimal": Decimal}) == Decimal(result)


@pytest.mark.parametrize(
    ("output", "numeric", "strict", "flexible"),
    [
        ("#### 1250", 1, 1, 1),
        ("#### 1,250", 1, 1, 1),
        ("#### $1,250.00", 1, 0, 0),
        ("It is 1250.\nNow on to row 7", 0, 0, 0),
        ("The answer is 1250 (36 rows)", 1, 0, 0),
        ("so 1,250 trees", 1, 0, 1),
    ],
)
def test_gsm8k_keeps_three_readings_side_by_side(output, numeric, strict, flexible):
    sample = next(s for s in shipped("gsm8k", "train") if s.targets[0].endswith("#### 1,250"))
    score = find_task("gsm8k").score(sample, output)
    assert dict(score.values) == {"numeric": numeric, "strict": strict, "flexible": flexible}


def test_gsm8k_refuses_a_gold_answer_without_a_number():
    sample = Sample("x", {"question": "?"}, ("#### many",))
    with pytest.raises(DataError, match="expected a number"):
        find_task("gsm8k").score(sample, "#### 4")


@pytest.mark.parametrize(
    "target", ["A: 1,250", "5 * 250 = 1250\nA: 1250", "1,250", "It is 2 * 625 = 1250", "#### 1,250"]
)
def test_gsm8k_takes_a_gold_answer_with_any_marker_or_none(target):
    score = find_task("gsm8k").score(Sample("x", {}, (target,)), "#### 1,250")
    assert set(score.values.values()) == {1}


@pytest.mark.parametrize("name", [name for name in WITH_GOLD if not runs_code(find_task(name))])
def test_without_an_accepted_answer_nothing_is_right(name):
    sample = Sample("x", {}, ())
    task = find_task(name)
    answer = task.choices(sample)[0] if has_choices(task) else "#### 4"
    wrong, none = task.score(sample, answer), task.score(sample, GARBAGE)
    nothing_found = Outcome.WRONG if name in FREE_TEXT else Outcome.NO_ANSWER
    assert (wrong.outcome, none.outcome) == (Outcome.WRONG, nothing_found)
    assert set(wrong.values.values()) == set(none.values.values()) == {0}


def test_arithmetic_is_the_same_in_every_run_and_only_grows():
    assert problems("test", 50) == problems("test", 80)[:50]
    assert problems("test", 50, seed=1) != problems("test", 50)
    for problem in problems("train", 300):
        for left, right in (step.split(" = ") for step in problem.steps.splitlines()):
            assert eval(left) == int(right)
        assert problem.answer == int(right)
        assert first_number(problem.question) is not None


def test_arithmetic_splits_share_no_calculation():
    seen = {split: {p.steps for s in (0, 1) for p in problems(split, 600, s)} for split in ("train", "test")}
    assert seen["train"] & seen["test"] == set()


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(StudyError, match=r"got 'gsmk8'.*did you mean 'gsm8k'"):
        find_task("gsmk8")


def identities(folder, code):
    """What the user's task with that code is known by: its rows and its scorer."""
    (folder / "my_task.py").write_text(code)
    name = "./my_task.py:Echo"
    task = find_task(name, folder)
    return rows_identity(task, name, folder), scorer_identity(task, name, folder)


def test_a_task_of_the_users_comes_from_a_file(tmp_path):
    rows, scorer = identities(tmp_path, USER_TASK)
    task = find_task("./my_task.py:Echo", tmp_path)
    assert [s.targets for s in load_samples(task, "train", None)] == [("ja",)]
    assert (rows["name"], rows["version"], scorer["version"]) == ("echo", 3, 5)


SCORER_EDITS = {
    "the scorer": ("output == sample.targets[0], output", "output.strip() == sample.targets[0], output"),
    "a function that only the scorer uses": (
        "def same(a, b):\n    return a == b",
        "def same(a, b):\n    return a is b",
    ),
    "the metrics": ('Metric("same")', 'Metric("equal")'),
    "the version of the scorer": ("scorer_version: int = 5", "scorer_version: int = 6"),
}
ROWS_EDITS = {
    "the prompt": ('Message("user", sample', 'Message("user", "Say: " + sample'),
    "the samples": ('{"word": "ja"}', '{"word": "nein"}'),
    "a function that the prompt uses": ('return WORDS["kind"]', 'return WORDS["kind"] + "!"'),
    "a constant": ('"kind": "please"', '"kind": "kindly"'),
    "a default": ("version: int = 3", "version: int = 4"),
}
HELPED_TASK = (
    USER_TASK.replace(
        "@dataclass\nclass",
        """WORDS = {"kind": "please"}

def same(a, b):
    return a == b

def polite():
    return WORDS["kind"]

@dataclass
class""",
    )
    .replace(
        'return [Message("user", sample.fields["word"])]', 'return [Message("user", sample.fields["word"] + polite())]'
    )
    .replace("judged(output", "judged(same(output, '') or output")
)


@pytest.mark.parametrize("edit", SCORER_EDITS)
def test_a_new_scorer_leaves_the_rows_as_they_were(tmp_path, edit):
    rows, scorer = identities(tmp_path, HELPED_TASK)
    assert HELPED_TASK.replace(*SCORER_EDITS[edit]) != HELPED_TASK
    new_rows, new_scorer = identities(tmp_path, HELPED_TASK.replace(*SCORER_EDITS[edit]))
    assert new_rows == rows
    assert new_scorer != scorer


@pytest.mark.parametrize("edit", ROWS_EDITS)
def test_new_prompts_and_samples_are_new_rows(tmp_path, edit):
    rows, _ = identities(tmp_path, HELPED_TASK)
    assert HELPED_TASK.replace(*ROWS_EDITS[edit]) != HELPED_TASK
    assert identities(tmp_path, HELPED_TASK.replace(*ROWS_EDITS[edit]))[0] != rows


def test_a_comment_or_a_docstring_makes_no_new_task(tmp_path):
    before = identities(tmp_path, HELPED_TASK)
    edited = HELPED_TASK.replace("def polite():", 'def polite():\n    """Be kind."""  # always')
    assert identities(tmp_path, edited) == before


def test_a_prompt_that_uses_the_scorer_depends_on_it(tmp_path):
    task = HELPED_TASK.replace("+ polite()", "+ str(self.score(sample, ''))")
    before, _ = identities(tmp_path, task)
    assert identities(tmp_path, task.replace(*SCORER_EDITS["the scorer"]))[0] != before


def test_a_task_file_that_is_not_there_or_lacks_the_class_is_one_line(tmp_path):
    (tmp_path / "my_task.py").write_text(USER_TASK)
    with pytest.raises(StudyError, match=r"other\.py is not a file"):
        find_task("other.py:Echo", tmp_path)
    with pytest.raises(StudyError, match=r"has no 'Ecco'; did you mean 'Echo'\?"):
        find_task("my_task.py:Ecco", tmp_path)


def test_rows_without_a_needed_column_and_repeated_ids_are_refused(tmp_path):
    file = tmp_path / "train.jsonl"
    file.write_text('{"question": "1 + 1?", "answer": "#### 2"}\n{"question": "2 + 2?", "solution": "#### 4"}\n')
    with pytest.raises(DataError, match=r"gsm8k.*train.*row 2: no column 'answer', got \['question', 'solution'\]"):
        checked_rows(find_task("gsm8k"), "train", FileSource({"train": file}))
    task = find_task("arithmetic")
    task.load = lambda split, source: [Sample("a", {}, ("1",))] * 2
    with pytest.raises(DataError, match="ids repeat"):
        load_samples(task, "train", None)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"question": None, "answer": "#### 2"}, r"sample test-1: got None as the user's message \(empty: question\)"),
        ({"question": "", "answer": "#### 2"}, r"sample test-1: got '' as the user's message \(empty: question\)"),
        ({"question": " \n", "answer": "#### 2"}, r"as the user's message \(empty: question\), expected a text; mend"),
        ({"question": "1 + 1?", "answer": None}, "sample test-1: got the target None, expected a text; mend"),
    ],
)
def test_a_row_without_a_question_or_target_is_named_with_its_column(tmp_path, row, expected):
    file = tmp_path / "test.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in ({"question": "2 + 2?", "answer": "#### 4"}, row)))
    with pytest.raises(DataError, match=expected) as refused:
        load_samples(find_task("gsm8k"), "test", FileSource({"test": file}))
    assert "\n" not in str(refused.value)


def test_the_shipped_rows_have_the_datasets_own_columns():
    for name in TASKS:
        dataset = find_task(name).dataset
        path = Path(__file__).parents[2] / "src" / "tunelab" / "tasks" / "rows" / f"{name}.jsonl"
        if dataset is not None:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            assert all({"split", *dataset.columns} <= set(row) for row in rows)


LABELLED = {
    "sst2": ({"sentence": "fine"}, ("negative", "positive")),
    "mnli": ({"premise": "a", "hypothesis": "b"}, ("entailment", "neutral", "contradiction")),
    "qqp": ({"question1": "a", "question2": "b"}, ("no", "yes")),
}


@pytest.mark.parametrize("name", LABELLED)
def test_an_integer_label_is_the_word_that_the_data_set_means(tmp_path, name):
    row, words = LABELLED[name]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row | {"label": label}) + "\n" for label in range(len(words))))
    task = find_task(name)
    samples = load_samples(task, task.train_split, FileSource({task.train_split: file}))
    assert [task.target(sample) for sample in samples] == list(words) == list(task.choices(samples[0]))


@pytest.mark.parametrize("label", [-1, 3, None, "1"])
def test_a_hidden_or_unknown_label_is_refused_with_its_row(tmp_path, label):
    file = tmp_path / "rows.jsonl"
    rows = [{"sentence": "fine", "label": 1}, {"sentence": "hm", "label": label}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=rf"task sst2, split train, row 2: got label {label!r}, expected 0 to 1"):
        load_samples(find_task("sst2"), "train", FileSource({"train": file}))


@pytest.mark.parametrize("name", LABELLED)
def test_every_choice_scores_and_only_the_target_is_right(name):
    task = find_task(name)
    for sample in shipped(name, task.test_split):
        outcomes = {choice: task.score(sample, choice).outcome for choice in task.choices(sample)}
        assert [choice for choice, outcome in outcomes.items() if outcome is Outcome.CORRECT] == [task.target(sample)]
        assert set(outcomes.values()) == {Outcome.CORRECT, Outcome.WRONG}


def test_the_two_validation_splits_of_mnli_are_apart():
    splits = [shipped("mnli", split) for split in ("validation_matched", "validation_mismatched")]
    ids = [{sample.id for sample in samples} for samples in splits]
    assert len(ids[0]) == len(ids[1]) == 3
    assert not ids[0] & ids[1]


def test_f1_of_qqp_is_of_the_duplicates_over_all_pairs():
    task = find_task("qqp")
    yes, no = Sample("a", {}, ("yes",)), Sample("b", {}, ("no",))
    said = [(yes, "yes"), (yes, "no"), (yes, "hm"), (no, "yes"), (no, "no")]
    parts = [task.score(sample, output).parts["f1"] for sample, output in said]
    assert parts == [(1, 0, 0), (0, 0, 1), (0, 0, 1), (0, 1, 0), (0, 0, 0)]
    metric = next(metric for metric in task.metrics if metric.name == "f1")
    assert metric.total(np.sum(parts, axis=0)) == pytest.approx(2 / (2 + 1 + 2))


def test_the_real_rows_are_read_where_the_mirror_is_set():
    root = os.environ.get("TUNELAB_DATA")
    if not root:
        pytest.skip("TUNELAB_DATA is not set")
    for name, rows in {"sst2": 872, "mnli": 1000, "qqp": 1000}.items():
        task = find_task(name)
        samples = load_samples(task, task.test_split, mirror_source(task.dataset))
        assert len(samples) == rows
        assert {task.target(sample) for sample in samples} == set(task.choices(samples[0]))


def test_leaks_are_found_by_what_a_sample_asks_and_not_by_the_words_around_it():
    task = find_task("squad_v2")
    sample = shipped("squad_v2", "train")[0]
    assert question_text(task, sample) == "\n".join(sample.fields.values())
    assert len(question_text(task, sample)) < len(task.messages(sample)[0].content)
    numbers = Sample("x", {"a": 1}, ())
    assert question_text(Asks(), numbers) == "what is 1?"


class Asks:
    """A task whose samples have numbers only."""

    def messages(self, sample):
        return [Message("system", "Be brief."), Message("user", f"what is {sample.fields['a']}?")]
