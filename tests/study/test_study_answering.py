"""How cells answer: decided in the plan, part of what a result is, and refused or left out where it cannot be."""

import pytest
from study_files import changed, compiled

from tunelab.errors import StudyError

CLASSIFIER = {"format": "chat", "head": "classifier"}
TRAIN = {"lm": {"format": "chat", "loss": "completion"}, "clf": CLASSIFIER}


def plan(folder, evaluate, task="sst2", train=None, **fields):
    return compiled(folder, changed(task=task, train=TRAIN if train is None else train, evaluate=evaluate, **fields))


def ways(found):
    return {cell.name: cell.by for cell in found.cells}


def test_what_is_not_declared_follows_from_the_task_and_the_variant(tmp_path):
    found = plan(tmp_path, {"a": {"format": "chat"}, "b": {"format": "chat", "task": "gsm8k"}})
    assert ways(found) == {
        "base/a": "choose",
        "base/b": "generate",
        "lm/a": "choose",
        "lm/b": "generate",
        "clf/a": "classifier",
    }
    assert found.left_out == {"clf/b": "clf has no head for the task gsm8k"}


def test_a_declared_way_leaves_out_the_variants_that_cannot_go_it(tmp_path):
    evaluate = {by: {"format": "chat", "by": by} for by in ("choose", "generate", "classifier")}
    found = plan(tmp_path, evaluate)
    assert ways(found) == {
        **{f"{variant}/{by}": by for variant in ("base", "lm") for by in ("choose", "generate")},
        "clf/classifier": "classifier",
    }
    assert found.left_out == {
        "base/classifier": "base has no classifier's head",
        "lm/classifier": "lm has no classifier's head",
        "clf/choose": "clf has a classifier's head only, and evaluate.choose asks by: choose",
        "clf/generate": "clf has a classifier's head only, and evaluate.generate asks by: generate",
    }
    assert set(found.scores) == set(ways(found))
    assert found.restricted(found.cells[:1]).left_out == found.left_out


def test_how_a_cell_answers_is_part_of_its_outputs_and_of_its_score(tmp_path):
    found = plan(tmp_path, {by: {"format": "chat", "by": by} for by in ("choose", "generate")}, train={})
    choose, generate = (found.scores[f"base/{by}"] for by in ("choose", "generate"))
    assert choose.settings["by"] == choose.inputs["outputs"].settings["by"] == "choose"
    assert choose.settings["scorer"] == generate.settings["scorer"]
    assert "by" not in generate.settings
    assert "by" not in generate.inputs["outputs"].settings
    assert choose.fingerprint != generate.fingerprint


@pytest.mark.parametrize("setting", [{"max_new_tokens": 3}, {"seed": 4}])
def test_what_only_drawing_text_needs_is_no_part_of_a_choice(tmp_path, setting):
    one, other = (
        plan(tmp_path, {"c": {"format": "raw", **extra}}, train={}).scores["base/c"] for extra in ({}, setting)
    )
    assert one.fingerprint == other.fingerprint


def test_where_an_answer_ends_is_no_part_of_a_choice(tmp_path):
    formats = [{"chat": {"template": "chat", **extra}} for extra in ({}, {"stop": ["END"]})]
    one, other = (
        plan(tmp_path, {"c": {"format": "chat", "by": by}}, train={}, formats=fmt).scores["base/c"].fingerprint
        for fmt, by in [(formats[0], "choose"), (formats[1], "choose")]
    )
    assert one == other


def test_a_choice_among_none_is_refused_in_one_line(tmp_path):
    expected = r"^evaluate\.c\.by: got choose, but the task gsm8k has no choices; write by: generate$"
    with pytest.raises(StudyError, match=expected):
        plan(tmp_path, {"c": {"format": "chat", "by": "choose"}}, task="gsm8k", train={})


def test_a_classifier_of_a_task_without_choices_is_refused(tmp_path):
    expected = r"^train\.clf\.head: got classifier, but the task arithmetic has no choices; use head: lm$"
    with pytest.raises(StudyError, match=expected):
        plan(tmp_path, {"c": {"format": "chat"}}, task="arithmetic")


def test_a_temperature_where_nothing_is_drawn_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"^evaluate\.c\.temperature: got 0\.7, expected 0 by: choose"):
        plan(tmp_path, {"c": {"format": "chat", "temperature": 0.7}}, train={})


def test_a_study_that_no_variant_can_answer_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"no cell is left.*base has no classifier's head"):
        plan(tmp_path, {"c": {"format": "chat", "by": "classifier"}}, train={})


def test_only_supervised_training_has_a_classifiers_head(tmp_path):
    with pytest.raises(StudyError, match=r"head: got classifier with method grpo, expected method sft"):
        plan(tmp_path, {"c": {"format": "chat"}}, train={"clf": CLASSIFIER | {"method": "grpo"}})


def test_the_loss_on_tokens_is_no_part_of_a_classifiers_training(tmp_path):
    steps = [
        plan(tmp_path, {"c": {"format": "chat"}}, train={"clf": CLASSIFIER | extra})
        for extra in ({}, {"loss": "all"}, {"loss": "completion"})
    ]
    assert len({found.train["clf"].fingerprint for found in steps}) == 1
    assert steps[0].train["clf"].settings["recipe"]["head"] == "classifier"
