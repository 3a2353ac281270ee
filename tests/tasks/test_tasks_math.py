"""MATH and MATH-500: every gold answer of the real rows scores, and one output has the score that its answer earns."""

import json
import os
from pathlib import Path

import pytest

from tunelab.data.sample import Sample
from tunelab.data.sources import BuiltinSource, FileSource, mirror_source
from tunelab.errors import DataError
from tunelab.scoring.latex.answers import boxed
from tunelab.scoring.latex.forms import tidied
from tunelab.scoring.latex.pool import shared
from tunelab.scoring.score import Outcome
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import load_samples
from tunelab.training.gold import check_reward

DATA = Path(os.environ.get("TUNELAB_DATA", "/nowhere"))
real = pytest.mark.skipif(not DATA.is_dir(), reason="TUNELAB_DATA is not set")
NAMES = ["math", "math500"]
SPLITS = [("math", "train"), ("math", "test"), ("math500", "test")]
RIGHT = {"equivalent": 1.0, "exact": 1.0}
SAME = {"equivalent": 1.0, "exact": 0.0}
ZERO = {"equivalent": 0.0, "exact": 0.0}
HALF = Sample("x", {"problem": "?"}, (r"So it is $\boxed{\frac{1}{2}}$.",))


def mirrored(name, split="test"):
    task = find_task(name)
    return task, load_samples(task, split, mirror_source(task.dataset))


@real
@pytest.mark.parametrize(("name", "rows"), [("math", 5000), ("math500", 500)])
def test_every_gold_solution_of_the_real_rows_scores_one(name, rows):
    task, samples = mirrored(name)
    assert len(samples) == rows
    assert [s.id for s in samples if task.score(s, task.target(s)).values != RIGHT] == []
    assert {s.metadata["level"] for s in samples} == {f"Level {n}" for n in range(1, 6)}
    assert len({s.metadata["subject"] for s in samples}) == 7


@real
def test_math_verify_reads_every_gold_answer_of_math500_and_finds_it_equal_to_itself():
    _, samples = mirrored("math500")
    golds = [tidied(boxed(sample.targets[0])) for sample in samples]
    assert [gold for gold in golds if shared().verdict(gold, gold) != "equal"] == []


@real
def test_the_answers_that_math500_names_are_those_in_the_boxes():
    task, samples = mirrored("math500")
    rows = [json.loads(line) for line in (DATA / task.dataset.repo / "default" / "test.jsonl").read_text().splitlines()]
    answers = [rf"\boxed{{{row['answer']}}}" for row in rows]
    scores = [task.score(sample, answer) for sample, answer in zip(samples, answers, strict=True)]
    assert [score.explanation for score in scores if score.values["equivalent"] != 1] == []


@real
def test_a_problem_of_math500_has_the_id_that_it_has_in_math():
    _, of_math = mirrored("math")
    _, of_math500 = mirrored("math500")
    assert {sample.id for sample in of_math500} <= {sample.id for sample in of_math}


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_the_reward_fires_on_every_gold_answer_and_on_no_garbage(name, split):
    task = find_task(name)
    check_reward(task, load_samples(task, split, BuiltinSource(name)))


SCORED = {
    "as the gold one": (r"\boxed{\frac{1}{2}}", Outcome.CORRECT, RIGHT),
    "in another layout": (r"It is $\boxed{\dfrac12.}$", Outcome.CORRECT, RIGHT),
    "as a decimal": (r"\boxed{0.50}", Outcome.CORRECT, SAME),
    "to be reduced": ("The final answer is $2/4$. I hope it is correct.", Outcome.CORRECT, SAME),
    "in a formula": (r"so we get $x = \frac{3}{6}$", Outcome.CORRECT, SAME),
    "as the last number": ("that makes .5", Outcome.CORRECT, RIGHT),
    "another": (r"\boxed{\frac{1}{3}}", Outcome.WRONG, ZERO),
    "right, then another": (r"\boxed{\frac{1}{2}} no \boxed{\frac{1}{3}}", Outcome.WRONG, ZERO),
    "not readable": (r"\boxed{\frac{1}{}", Outcome.WRONG, ZERO),
    "none": ("I cannot say.", Outcome.NO_ANSWER, ZERO),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", SCORED)
def test_an_output_scores_by_its_answer_as_text_and_as_mathematics(name, case):
    output, outcome, values = SCORED[case]
    score = find_task(name).score(HALF, output)
    assert (score.outcome, dict(score.values)) == (outcome, values)


def test_the_gold_answer_is_compared_first():
    task = find_task("math")
    inequality, interval = (Sample("x", {}, (rf"\boxed{{{gold}}}",)) for gold in (r"1 \le x \le 2", "[1, 2]"))
    assert task.score(inequality, r"\boxed{[1, 2]}").values == SAME
    assert task.score(interval, r"\boxed{1 \le x \le 2}").values == ZERO


@pytest.mark.parametrize(
    ("targets", "outcome"),
    [
        ((r"\boxed{1}", r"\boxed{1/2}"), Outcome.CORRECT),
        ((r"\boxed{1}", r"\boxed{2}"), Outcome.WRONG),
        ((r"\frac{1}{2}",), Outcome.CORRECT),
        (("First this.\nThen that.",), Outcome.UNSCORED),
    ],
)
def test_an_answer_may_equal_any_gold_one_and_a_solution_without_an_answer_is_unscored(targets, outcome):
    assert find_task("math").score(Sample("x", {}, targets), r"\boxed{\frac{2}{4}}").outcome is outcome


def test_what_was_compared_and_why_it_is_wrong_is_told():
    score = find_task("math").score(HALF, r"\boxed{x^^2}")
    assert score.answer == "x^^2"
    assert score.explanation == r"gold \frac{1}{2}; math-verify cannot read the answer"


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_is_the_problem_and_asks_for_a_box_and_a_boxed_answer_is_explicit(name):
    task = find_task(name)
    for sample in load_samples(task, "test", BuiltinSource(name)):
        [message] = task.messages(sample)
        assert message.content == f"{sample.fields['problem']}\n\nPut the final answer into \\boxed{{}}."
        assert task.explicit(task.target(sample))
        assert not task.explicit(message.content)
    assert task.explicit("The final answer is 3.")
    assert not task.explicit("It is $3$.")


def test_levels_and_subjects_are_written_alike_in_both_data_sets(tmp_path):
    rows = {
        "math": [{"level": "Level 3", "type": "Algebra"}, {"level": "Level ?", "type": "Geometry"}],
        "math500": [{"level": 3, "subject": "Algebra", "unique_id": "a/1.json"}, {"level": "4", "subject": "Geometry"}],
    }
    found = {}
    for name in NAMES:
        file = tmp_path / f"{name}.jsonl"
        texts = [{"problem": f"{n}?", "solution": rf"\boxed{{{n}}}"} for n in range(2)]
        file.write_text("".join(json.dumps(a | b) + "\n" for a, b in zip(texts, rows[name], strict=True)))
        task = find_task(name)
        found[name] = load_samples(task, "test", FileSource({"test": file}))
        assert task.groups == ("subject", "level")
    known = {name: [tuple(s.metadata[group] for group in ("subject", "level")) for s in found[name]] for name in NAMES}
    assert known["math"] == [("Algebra", "Level 3"), ("Geometry", "Level ?")]
    assert known["math500"] == [("Algebra", "Level 3"), ("Geometry", "Level 4")]
    assert [s.metadata.get("id") for s in found["math500"]] == ["a/1.json", None]


def test_an_id_depends_on_the_row_and_not_on_its_place(tmp_path):
    lines = [json.dumps({"problem": f"{n}?", "solution": "s", "level": "", "type": ""}) + "\n" for n in (1, 2, 2)]
    ids = []
    for order in (lines, lines[::-1]):
        (file := tmp_path / "rows.jsonl").write_text("".join(order))
        ids.append([s.id for s in load_samples(find_task("math"), "test", FileSource({"test": file}))])
    assert sorted(ids[0]) == sorted(ids[1])
    assert ids[0][0] == ids[1][2]


def test_math500_has_nothing_to_train_on():
    task = find_task("math500")
    with pytest.raises(DataError, match="train"):
        load_samples(task, "train", BuiltinSource("math500"))
    assert task.train_split == ""
