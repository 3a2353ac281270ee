"""What a plan says an evaluation can see: by independent items where its rows are there, by rows until then."""

import json

import pytest
import yaml

from tunelab.engine.runner import Runner
from tunelab.stats import minimum_detectable_effect, minimum_detectable_mean, minimum_detectable_with_seeds
from tunelab.study.api import SilentReporter
from tunelab.study.detectable import DISCORDANCE, SEED_SPREAD, SPREAD, detectable
from tunelab.study.open import open_study

CHOICES = {"A": "one", "B": "two", "C": "three", "D": "four", "Answer": "A", "Subject": "anatomy"}
QUESTIONS = 30


@pytest.fixture
def study(tmp_path):
    """A study of thirty questions in German and in French, as a path."""
    for language in ("de", "fr"):
        rows = [{"Unnamed: 0": i, "Question": f"{language} {i}?", **CHOICES} for i in range(QUESTIONS)]
        (tmp_path / f"{language}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    raw = {
        "study": "languages",
        "question": "What can be seen?",
        "model": "tiny",
        "task": "mmmlu",
        "data": {"files": {f"test_{language}": f"{language}.jsonl" for language in ("de", "fr")}},
        "formats": {"raw": {"template": "raw"}},
        "evaluate": {
            "both": {"format": "raw", "rows": 2 * QUESTIONS},
            "one": {"format": "raw", "rows": QUESTIONS, "split": "test_de"},
        },
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    return str(tmp_path / "study.yaml")


def line(name, what, independent, proviso=""):
    effect = minimum_detectable_effect(independent, DISCORDANCE)
    return f"evaluate.{name}: {what} see a difference of {effect:.3f} if 10% of them change{proviso}"


def test_translations_of_a_question_are_one_item_once_rows_are_there(study, tmp_path):
    opened = open_study(study, [], tmp_path / "store")
    assert detectable(opened) == [
        line("both", "60 items", 60, ", and if all rows are independent"),
        line("one", "30 items", 30),
    ]
    Runner(opened.store, SilentReporter()).run([score.inputs["rows"] for score in opened.compiled.scores.values()])
    assert detectable(opened) == [
        line("both", "30 independent items, of 60 rows,", 30),
        line("one", "30 items", 30),
    ]


def written(tmp_path, **changes):
    """What a plan says of a small study with two evaluations."""
    recipe = {"method": "sft", "adaptation": "full", "loss": "all", "lr": 1e-4, "epochs": 1, "batch_size": 4}
    raw = {
        "study": "seeds",
        "question": "What can be seen?",
        "model": "tiny",
        "task": "arithmetic",
        "formats": {"raw": {"template": "raw"}},
        "train": {"sft": {**recipe, "format": "raw"}},
        "evaluate": {"one": {"format": "raw", "rows": 100}, "two": {"format": "raw", "rows": 100, "max_new_tokens": 9}},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**raw, **changes}), encoding="utf-8")
    return detectable(open_study(str(tmp_path / "study.yaml"), [], tmp_path / "store"))


def test_three_seeds_say_what_their_mean_would_see(tmp_path):
    lines = written(tmp_path, seeds=[0, 1, 2])
    effect = minimum_detectable_with_seeds(3, SEED_SPREAD, (DISCORDANCE / 100) ** 0.5)
    assert lines[0] == line("one", "100 items", 100)
    assert lines[1] == (
        f"evaluate.one: the mean of 3 seeds of a recipe sees a difference of {effect:.3f} if seeds lie "
        "0.01 (SD) apart, and the items as above"
    )
    assert len(written(tmp_path, seeds=[0, 1])) == 2


def test_fewer_items_than_the_exact_test_needs_are_said_to_see_nothing(tmp_path):
    one = {"one": {"format": "raw", "rows": 5}}
    assert written(tmp_path, evaluate=one) == [
        "evaluate.one: 5 items see nothing: no difference can be seen with fewer than 6 items"
    ]


def test_a_contrast_says_what_it_would_see(tmp_path):
    lines = written(tmp_path, contrasts=[["sft/one", "base/two"]])
    assert lines[-1] == line("one", "100 items", 100).replace("evaluate.one", "contrast sft/one - base/two")


GRADED = """
from tunelab.scoring.score import Metric
from tunelab.tasks.arithmetic import Arithmetic


class Graded(Arithmetic):
    metrics = (Metric("f1", binary=False),)


class Corpus(Arithmetic):
    metrics = (Metric("bleu", binary=False, total=lambda sums: float(sums[0])),)
"""


@pytest.mark.parametrize("samples", [1, 4])
def test_graded_scores_say_what_spread_is_assumed(tmp_path, samples):
    (tmp_path / "graded.py").write_text(GRADED, encoding="utf-8")
    task = "graded.py:Graded" if samples == 1 else "arithmetic"
    drawn = {"temperature": 0.7, "samples": samples} if samples > 1 else {}
    [found] = written(tmp_path, task=task, evaluate={"one": {"format": "raw", "rows": 100, **drawn}}, train={})
    assert (
        f"100 items see a difference of {minimum_detectable_mean(SPREAD, 100):.3f} if differences of an item's" in found
    )
    assert found.endswith("have a standard deviation of 0.3")


def test_a_corpus_metric_promises_nothing(tmp_path):
    (tmp_path / "graded.py").write_text(GRADED, encoding="utf-8")
    [found] = written(
        tmp_path, task="graded.py:Corpus", evaluate={"one": {"format": "raw", "rows": 100}}, train={}, seeds=[0, 1, 2]
    )
    assert (
        found == "evaluate.one: 100 items are asked; what a corpus metric such as bleu sees is known from the outputs"
    )
