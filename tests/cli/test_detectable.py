"""What a plan says an evaluation can see: by independent items where its rows are there, by rows until then."""

import json

import pytest
import yaml

from tunelab.cli.plan import DISCORDANCE, detectable
from tunelab.engine.runner import Runner
from tunelab.stats import minimum_detectable_effect
from tunelab.study.api import SilentReporter
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
