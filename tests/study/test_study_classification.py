"""A whole small study of a task with choices on the bundled model: by choice, by text and by a classifier's head."""

import csv
import json
from collections import Counter

import pytest
from study_files import changed, opened

from tunelab.engine.runner import Runner
from tunelab.files import read_json, read_lines
from tunelab.generation.engine import answerers
from tunelab.study.api import SilentReporter
from tunelab.study.layout import link_results
from tunelab.study.open import open_points
from tunelab.tasks.sst2 import LABELS

STUDY = changed(
    study="both-ways",
    task="sst2",
    data={"source": "builtin", "leaks": "report"},
    recipe={"method": "sft", "adaptation": "full", "lr": 0.002, "epochs": 3, "batch_size": 4},
    train={
        "lm": {"format": "chat", "loss": "completion"},
        "clf": {"format": "chat", "head": "classifier"},
        "lora": {"format": "chat", "head": "classifier", "adaptation": "lora"},
    },
    evaluation={},
    evaluate={"any": {"format": "chat"}, "text": {"format": "chat", "by": "generate"}},
    hardware={"device": "cpu", "generation_batch_size": 2},
)
CHOSEN = ("base/any", "lm/any", "clf/any", "lora/any")


class Killed(Exception):
    """What a kill looks like from inside."""


class KillsAt(SilentReporter):
    """Ends every generation after four prompts."""

    def progressed(self, step, done, total, unit):
        if (unit, done) == ("samples", 4):
            raise Killed


def run(folder, reporter=None):
    """Run the study in a folder; return what the plan says and the folder of results."""
    folder.mkdir(exist_ok=True)
    found = open_points(opened(folder, STUDY), folder, folder / "store")
    outcome = Runner(found.store, reporter or SilentReporter()).run(found.targets())
    return link_results(found, outcome, folder / "results")


@pytest.fixture(autouse=True, scope="module")
def four_together():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answerers, "TOGETHER", 2)
        yield


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole") / "study")


def cell(results, name):
    return results / "eval" / name.replace("/", "_eval_")


@pytest.mark.parametrize("name", CHOSEN)
def test_a_chosen_answer_is_a_label_with_the_log_probabilities_of_all(results, name):
    rows = read_json(cell(results, name) / "results.json")
    assert len(rows) == 6
    for row in rows:
        assert list(row["logprobs"]) == list(LABELS)
        assert row["output"] == row["answer"] == max(row["logprobs"], key=row["logprobs"].__getitem__)
        assert (row["finish"], row["output_tokens"]) == ("choice", 0)
        assert row["values"]["accuracy"] == (row["output"] in row["targets"])


@pytest.mark.parametrize("name", [*CHOSEN, "lm/text"])
def test_the_summary_says_what_a_constant_answer_would_reach(results, name):
    rows = read_json(cell(results, name) / "results.json")
    most = Counter(row["targets"][0] for row in rows).most_common(1)[0][1]
    assert read_json(cell(results, name) / "summary.json")["majority"] == most / len(rows)


def test_the_comparison_counts_which_answers_were_given_where_each_was_right(results):
    found = {matrix["cell"]: matrix for matrix in read_json(results / "comparison.json")["confusions"]}
    assert set(found) == {*CHOSEN, "base/text", "lm/text"}
    for name, matrix in found.items():
        pairs = Counter((row["targets"][0], row["answer"]) for row in read_json(cell(results, name) / "results.json"))
        for gold, counts, none in zip(matrix["gold"], matrix["counts"], matrix["no_answer"], strict=True):
            assert counts == [pairs[gold, answer] for answer in matrix["answered"]]
            assert none == pairs[gold, None]
    assert (results / "report" / "confusion_sst2.png").stat().st_size > 0


def test_the_record_says_what_the_labels_were_told_apart_by(results):
    outputs = (cell(results, "base/any") / "outputs.jsonl").resolve().parent
    assert read_json(outputs / "record.json")["facts"]["told_apart_by"] == ["first differing token"]


def test_generated_answers_have_no_log_probabilities(results):
    rows = read_lines(cell(results, "lm/text") / "outputs.jsonl")
    assert {row["finish"] for row in rows} <= {"stop", "stop_string", "length"}
    assert not any("logprobs" in row for row in rows)


def test_cells_that_answer_in_different_ways_are_not_compared(results):
    comparison = read_json(results / "comparison.json")
    refused = {row["cell"]: row["refused"] for row in comparison["comparisons"] if "refused" in row}
    assert refused == dict.fromkeys(
        ("clf/any", "lora/any"), "the two answer in different ways: by classifier, by choose"
    )
    compared = {row["cell"] for row in comparison["comparisons"]} - set(refused)
    assert compared == {"lm/any", "lm/text"}


def test_the_report_shows_the_majority_and_what_was_left_out(results):
    page = (results / "report" / "index.html").read_text()
    assert "clf/text was left out: clf has a classifier&#39;s head only" in page
    assert "majority class" in page
    with (results / "report" / "comparison.csv").open() as file:
        rows = {f"{row['variant']}/{row['evaluation']}": row for row in csv.DictReader(file)}
    assert set(rows) == {*CHOSEN, "base/text", "lm/text"}
    assert {float(row["majority"]) for row in rows.values()} == {0.5}


def test_killed_while_choosing_ends_with_the_outputs_of_an_undisturbed_run(results, tmp_path):
    folder = tmp_path / "study"
    run(folder, KillsAt())
    torn = [len(read_lines(path)) for path in folder.glob("store/generate/*/outputs.jsonl")]
    assert torn
    assert set(torn) == {4}
    again = run(folder)
    for name in (*CHOSEN, "lm/text"):
        for file in ("outputs.jsonl", "scores.jsonl"):
            assert (cell(again, name) / file).read_text() == (cell(results, name) / file).read_text()
    for record in folder.glob("store/generate/*/record.json"):
        assert json.loads(record.read_text())["attempts"] == 2
