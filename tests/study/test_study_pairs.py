"""What dpo prefers: right and wrong completions of one prompt, planned once and counted in full."""

import json
import textwrap

import pytest
from study_files import STUDY, changed, compiled, kinds

from tunelab.data.sample import Sample
from tunelab.engine.runner import Runner, artifact_of
from tunelab.engine.store import Store
from tunelab.files import read_lines
from tunelab.study.api import SilentReporter
from tunelab.study.steps.pairs import count, pair
from tunelab.tasks.find import find_task

ARITHMETIC = find_task("arithmetic")
SAMPLE = Sample("a", {"question": "1 + 1?"}, ("#### 2",), {"rejected": "#### 3"})


def dpo(tmp_path, train=None, **settings):
    entry = {"format": "chat", "method": "dpo", "dpo": settings}
    recipe = STUDY["recipe"] | {"rows": 24}
    return compiled(tmp_path, changed(train=train or {"dpo": entry}, recipe=recipe, evaluation={"rows": 8}))


def entry(fmt="chat", **settings):
    return {"format": fmt, "method": "dpo", **settings}


def obtained(tmp_path, step, store="store"):
    """Run a step and all that it needs; return its artifact, or why there is none."""
    found = Store(tmp_path / store)
    outcome = Runner(found, SilentReporter()).run([step])
    return artifact_of(found, outcome, step) or "; ".join(outcome.failures().values())


def draws(*outcomes):
    return [
        {"sample": i, "output": f"{outcome}{i}", "outcome": outcome.removeprefix("cut "), "finish": finish}
        for i, outcome in enumerate(outcomes)
        for finish in ["length" if outcome.startswith("cut ") else "stop"]
    ]


def test_two_trainings_with_equal_format_share_one_pairs_step(tmp_path):
    found = dpo(tmp_path, {"slow": entry(lr=1e-5), "fast": entry(lr=1e-3, dpo={"beta": 0.5})})
    assert found.train["slow"].fingerprint != found.train["fast"].fingerprint
    assert found.train["slow"].inputs["pairs"].fingerprint == found.train["fast"].inputs["pairs"].fingerprint
    assert kinds(found)["pairs"] == 1
    assert kinds(found)["generate"] == 2 * (1 + 2) + 1


@pytest.mark.parametrize("other", [entry("raw"), entry(dpo={"samples": 2}), entry(dpo={"seed": 1}), entry(rows=12)])
def test_another_format_or_other_draws_or_rows_make_other_pairs(tmp_path, other):
    found = dpo(tmp_path, {"one": entry(), "other": other})
    assert kinds(found)["pairs"] == 2


def test_the_base_is_asked_the_training_rows_under_the_training_format_after_the_leak_check(tmp_path):
    found = dpo(tmp_path, {"dpo": entry("raw")}, samples=4).train["dpo"]
    pairs, [check] = found.inputs["pairs"], found.after
    outputs = pairs.inputs["outputs"]
    assert "trained" not in outputs.inputs
    assert outputs.inputs["rows"].fingerprint == found.inputs["rows"].fingerprint
    assert outputs.settings["format"] == found.settings["format"]
    assert outputs.settings["decoding"]["samples"] == 4
    assert [step.fingerprint for step in outputs.after] == [check.fingerprint]


def test_other_methods_have_no_pairs_and_a_data_set_with_pairs_asks_the_base_nothing(tmp_path):
    assert "pairs" not in kinds(compiled(tmp_path))
    found = dpo(tmp_path, pairs="dataset")
    assert set(found.train["dpo"].inputs["pairs"].inputs) == {"rows"}
    assert kinds(found)["generate"] == 4


def test_a_pair_is_a_right_and_a_wrong_completion_of_its_prompt_and_every_prompt_is_counted(tmp_path):
    step = dpo(tmp_path).train["dpo"].inputs["pairs"]
    made, again = obtained(tmp_path, step), obtained(tmp_path, step, "another")
    assert made.path("pairs.jsonl").read_bytes() == again.path("pairs.jsonl").read_bytes()
    receipt, pairs = json.loads(made.path("receipt.json").read_text()), read_lines(made.path("pairs.jsonl"))
    [outputs] = (tmp_path / "store" / "generate").glob("*/outputs.jsonl")
    drawn = {(row["id"], row["sample"]): row["output"] for row in read_lines(outputs)}
    uncut = {(row["id"], row["sample"]) for row in read_lines(outputs) if row["finish"] != "length"}
    [rows] = (tmp_path / "store" / "prepare").glob("*train*/rows.jsonl")
    samples = {row["id"]: Sample.from_json(row) for row in read_lines(rows)}
    assert len({row["id"] for row in pairs}) == len(pairs) == receipt["pairs"] > 5
    for row in pairs:
        assert ARITHMETIC.score(samples[row["id"]], row["chosen"]).outcome == "correct"
        assert ARITHMETIC.score(samples[row["id"]], row["rejected"]).outcome in ("wrong", "no_answer")
        assert row["chosen"] == drawn[row["id"], row["chosen_draw"]]
        assert row["rejected"] == drawn[row["id"], row["rejected_draw"]]
        assert min(draw for name, draw in uncut if name == row["id"]) in (row["chosen_draw"], row["rejected_draw"])
    assert receipt["prompts"] == len(samples) == 24
    assert receipt["pairs"] + receipt["all_right"] + receipt["all_wrong"] + receipt["unscored"] == 24
    assert sum(receipt["completions"].values()) == len(drawn) == 4 * 24
    assert made.record.facts["receipt"] == receipt


def test_a_study_trains_on_its_pairs_and_evaluates_what_it_trained(tmp_path):
    found = dpo(tmp_path)
    trained = obtained(tmp_path, found.scores["dpo/chat"])
    assert trained.record.facts["task"] == "arithmetic"
    [folder] = (tmp_path / "store" / "train").iterdir()
    record = json.loads((folder / "record.json").read_text())
    [receipt] = (tmp_path / "store" / "pairs").glob("*/receipt.json")
    assert record["facts"]["receipt"]["rows"] == json.loads(receipt.read_text())["pairs"]
    assert "chosen: ⟦" in (folder / "example.txt").read_text()
    assert {"loss", "rewards/margins"} <= set(read_lines(folder / "metrics.jsonl")[0])


def test_the_first_right_and_the_first_wrong_draw_are_taken_and_never_one_that_was_cut():
    drawn = draws("cut correct", "cut wrong", "unscored", "wrong", "correct", "no_answer", "correct")
    found = pair("sampled", ARITHMETIC, SAMPLE, drawn)
    assert found == {
        "id": "a",
        "chosen": "correct4",
        "chosen_draw": 4,
        "rejected": "wrong3",
        "rejected_draw": 3,
    }
    receipt = count("sampled", [], {"a": drawn}, 1)
    assert receipt["completions"] == {"right": 2, "wrong": 2, "cut": 2, "unscored": 1}


@pytest.mark.parametrize(
    ("outcomes", "reason"),
    [
        (["correct", "correct", "cut wrong"], "all_right"),
        (["wrong", "no_answer", "cut correct"], "all_wrong"),
        (["unscored", "cut wrong", "timeout"], "unscored"),
        ([], "unscored"),
    ],
)
def test_a_prompt_without_both_has_no_pair_and_says_why(outcomes, reason):
    assert pair("sampled", ARITHMETIC, SAMPLE, draws(*outcomes)) == reason
    receipt = count("sampled", [reason], {"a": draws(*outcomes)}, 1)
    assert (receipt["prompts"], receipt["pairs"], receipt[reason]) == (1, 0, 1)


def test_the_target_can_stand_for_a_right_completion():
    found = pair("target", ARITHMETIC, SAMPLE, draws("correct", "wrong"))
    assert found == {"id": "a", "chosen": "#### 2", "rejected": "wrong1", "rejected_draw": 1}
    assert pair("target", ARITHMETIC, SAMPLE, draws("correct", "cut wrong")) == "none_wrong"


TASK = """
    import dataclasses

    from tunelab.tasks.arithmetic import Arithmetic

    class Preferences(Arithmetic):
        name = "preferences"

        def load(self, split, source):
            for i, sample in enumerate(super().load(split, source)):
                rejected = {} if i % 3 else {"rejected": f"#### no {i}"}
                yield dataclasses.replace(sample, metadata={**sample.metadata, **rejected})
"""


def test_a_task_can_bring_what_is_rejected_and_rows_without_it_are_counted(tmp_path):
    (tmp_path / "mine.py").write_text(textwrap.dedent(TASK))
    train = {"dpo": entry(dpo={"pairs": "dataset"}, task="mine.py:Preferences")}
    step = dpo(tmp_path, train).train["dpo"].inputs["pairs"]
    made = obtained(tmp_path, step)
    pairs, receipt = read_lines(made.path("pairs.jsonl")), made.record.facts["receipt"]
    [rows] = (tmp_path / "store" / "prepare").glob("*train*")
    samples = [s for s in map(Sample.from_json, read_lines(rows / "rows.jsonl")) if "rejected" in s.metadata]
    assert pairs == [{"id": s.id, "chosen": s.targets[0], "rejected": s.metadata["rejected"]} for s in samples]
    assert (receipt["prompts"], receipt["pairs"]) == (24, len(samples))
    assert receipt["without_rejected"] == 24 - len(samples) > 0


def test_no_pair_at_all_is_refused_with_what_to_do(tmp_path):
    step = dpo(tmp_path, pairs="dataset").train["dpo"].inputs["pairs"]
    assert "none of 24 rows has another text than its target in metadata.rejected" in obtained(tmp_path, step)
