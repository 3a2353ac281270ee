"""Which entries are run: on request, selected, skipped, and evaluations of some variants only."""

import pytest
from study_files import changed, compiled, only, opened, put

from tunelab.errors import StudyError
from tunelab.study.cells import describe_cell
from tunelab.study.configurations import configuration
from tunelab.study.spec import Study

PRESETS = changed(
    train={
        "simple": {"format": "chat", "loss": "all"},
        "medium": {"format": "chat", "loss": "completion"},
        "sandbox": {"format": "chat", "loss": "all", "rows": 1, "on_request": True},
    },
    evaluate={
        "maths_simple": {"format": "chat", "of": ["simple"]},
        "maths_medium": {"format": "chat", "of": ["medium"], "rows": 41},
        "maths_sandbox": {"format": "chat", "of": ["sandbox"], "rows": 1},
        "safety": {"format": "raw"},
    },
    baselines={"simple": {"maths_simple": 0.26, "safety": 0.3}, "sandbox": {"safety": 0.1}},
)


def names(found):
    """Every cell of a compiled study by name."""
    return [cell.name for cell in found.cells]


def refused(folder, raw, *overrides, skipped=()):
    """The one line that a study is refused with."""
    with pytest.raises(StudyError) as raised:
        opened(folder, raw, *overrides, skipped=skipped)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_what_is_on_request_is_left_out_until_it_is_named(tmp_path):
    study = only(tmp_path, PRESETS)
    assert (list(study.train), study.unselected) == (["simple", "medium"], ("sandbox",))
    assert list(study.evaluate) == ["maths_simple", "maths_medium", "safety"]
    for selection in ("train=sandbox", "train=sand*"):
        study = only(tmp_path, PRESETS, selection)
        assert study.unselected == ("simple", "medium")
        assert {name: entry.on_request for name, entry in study.train.items()} == {"sandbox": False}
        assert list(study.evaluate) == ["maths_sandbox", "safety"]
    assert list(only(tmp_path, PRESETS, "train=*").train) == ["simple", "medium", "sandbox"]


def test_an_entry_object_on_request_is_left_out_too(tmp_path):
    study = only(tmp_path, PRESETS, "train=*")
    later = study.train["sandbox"].model_copy(update={"on_request": True})
    again = Study(**(dict(study) | {"train": study.train | {"sandbox": later}}))
    assert (list(again.train), again.unselected) == (["simple", "medium"], ("sandbox",))


def test_a_mistake_in_what_is_on_request_is_a_mistake(tmp_path):
    assert "train.sandbox.rows: got 0" in refused(tmp_path, put(PRESETS, "train.sandbox.rows", 0))


def test_an_evaluation_is_of_the_variants_that_it_names_and_of_the_baseline(tmp_path):
    assert names(compiled(tmp_path, PRESETS)) == [
        "base/maths_simple", "base/maths_medium", "base/safety",
        "simple/maths_simple", "simple/safety", "medium/maths_medium", "medium/safety",
    ]  # fmt: skip
    against = names(compiled(tmp_path, PRESETS, "baseline=simple"))
    assert [name for name in against if "maths" in name] == [
        "simple/maths_simple", "simple/maths_medium", "medium/maths_medium"
    ]  # fmt: skip


def test_every_seed_belongs_to_its_entry_and_so_does_every_point_of_a_sweep(tmp_path):
    seeded = names(compiled(tmp_path, PRESETS, "seeds=[0, 1]"))
    assert [n for n in seeded if n.endswith("maths_simple")] == [
        "base/maths_simple", "simple#0/maths_simple", "simple#1/maths_simple"
    ]  # fmt: skip
    swept = names(compiled(tmp_path, PRESETS | {"sweep": {"recipe.lr": [0.1, 0.2]}}))
    assert [n for n in swept if n.endswith("maths_simple")] == [
        "base/maths_simple", "simple@lr=0.1/maths_simple", "simple@lr=0.2/maths_simple"
    ]  # fmt: skip


def test_an_evaluation_of_the_base_asks_nobody_else(tmp_path):
    found = compiled(tmp_path, put(put(PRESETS, "evaluate.safety.of", ["base"]), "baselines", {}))
    assert [name for name in names(found) if name.endswith("safety")] == ["base/safety"]


def test_only_bases_of_the_models_that_are_compared_with_them_are_asked(tmp_path):
    raw = put(PRESETS, "train.medium.model", "org/other")
    asked = names(compiled(tmp_path, raw))
    assert [name for name in asked if name.startswith("base")] == [
        "base/maths_simple", "base/safety", "base_other/maths_medium", "base_other/safety"
    ]  # fmt: skip


def test_a_variant_that_no_evaluation_is_of_is_not_trained_and_that_is_said(tmp_path):
    found = compiled(tmp_path, put(PRESETS, "evaluate.safety.of", ["simple"]), "evaluate=maths_simple,safety")
    assert list(found.train) == ["simple"]
    assert found.left_out == {"medium": "no evaluation is of it"}


def test_of_is_no_difference_between_evaluations(tmp_path):
    found = compiled(tmp_path, put(PRESETS, "evaluate.maths_medium.rows", 40))
    others = [describe_cell(c)["others"]["evaluation"] for c in found.cells if c.evaluation.name.startswith("maths")]
    assert all(other == others[0] for other in others)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (
            "evaluate.safety.of",
            ["simpel"],
            "evaluate.safety.of: got 'simpel', expected a variant; did you mean 'simple'?",
        ),
        (
            "evaluate.maths_sandbox.of",
            ["sandbox", "sandbax"],
            "got 'sandbax', expected a variant; did you mean 'sandbox'?",
        ),
        ("evaluate.safety.of", [], "evaluate.safety.of: got none, expected at least one variant"),
        ("baselines.mediun", {"safety": 0.1}, "baselines: got 'mediun', expected a variant; did you mean 'medium'?"),
    ],
)
def test_a_name_that_no_variant_ever_had_is_refused(tmp_path, path, value, expected):
    assert expected in refused(tmp_path, put(PRESETS, path, value))


def test_a_study_whose_every_evaluation_is_of_others_is_refused(tmp_path):
    message = refused(tmp_path, PRESETS, "evaluate=maths_*", "train=medium", "evaluate=maths_simple")
    assert message.endswith("evaluate: every evaluation is of variants that are left out (simple); select one of them")


@pytest.mark.parametrize(
    ("skipped", "train", "evaluate"),
    [
        (["evaluate.safety"], ["simple", "medium"], ["maths_simple", "maths_medium"]),
        (["evaluate.maths_*"], ["simple", "medium"], ["safety"]),
        (["train.simple"], ["medium"], ["maths_medium", "safety"]),
        (["train.s*", "evaluate.safety"], ["medium"], ["maths_medium"]),
    ],
)
def test_what_is_skipped_is_as_if_it_were_not_in_the_file(tmp_path, skipped, train, evaluate):
    study = only(tmp_path, PRESETS, skipped=skipped)
    assert (list(study.train), list(study.evaluate)) == (train, evaluate)


def test_thresholds_of_a_skipped_evaluation_go_with_it(tmp_path):
    study = only(tmp_path, PRESETS, skipped=["evaluate.safety"])
    assert study.baselines == {"simple": {"maths_simple": 0.26}, "sandbox": {}}
    assert only(tmp_path, PRESETS, skipped=["train.simple"]).baselines["simple"] == {"safety": 0.3}


@pytest.mark.parametrize(
    ("skipped", "expected"),
    [
        ("evaluate.safty", "skip evaluate: 'safty' matches no entry; did you mean 'safety'?"),
        ("train.strong_*", "skip train: 'strong_*' matches no entry"),
        (
            "evalute.safety",
            "skip: got 'evalute.safety', expected train.NAME or evaluate.NAME; did you mean 'evaluate.safety'?",
        ),
        ("evaluate", "skip: got 'evaluate', expected train.NAME or evaluate.NAME"),
        ("evaluate.*", "skip: 'evaluate.*' leaves no evaluation, expected at least one; skip fewer"),
    ],
)
def test_what_cannot_be_skipped_names_what_can(tmp_path, skipped, expected):
    assert refused(tmp_path, PRESETS, skipped=[skipped]).startswith(expected)


def test_a_skipped_evaluation_changes_no_other_step(tmp_path):
    whole = compiled(tmp_path, PRESETS)
    fewer = compiled(tmp_path, PRESETS, skipped=["evaluate.maths_medium"])
    scores = {name: step.fingerprint for name, step in fewer.scores.items()}
    assert scores == {name: whole.scores[name].fingerprint for name in scores}
    assert len(scores) == len(whole.scores) - 2


def test_a_configuration_of_a_selected_variant_asks_for_the_same_steps(tmp_path):
    found = compiled(tmp_path, PRESETS)
    alone = compiled(tmp_path, {k: v for k, v in configuration(found, "simple").items() if k != "smoke"})
    assert alone.train["simple"].fingerprint == found.train["simple"].fingerprint
    scores = {name: step.fingerprint for name, step in alone.scores.items()}
    assert scores == {n: s.fingerprint for n, s in found.scores.items() if n in scores}
    assert {"simple/maths_simple", "base/maths_simple", "simple/safety", "base/safety"} == set(scores)


def test_a_batch_size_of_generation_is_one_of_the_hardware(tmp_path):
    assert only(tmp_path, PRESETS, "generation.batch_size=8").hardware.generation_batch_size == 8
    assert "hardware.generation_batch_size: got 0" in refused(tmp_path, PRESETS, "generation.batch_size=0")


def test_a_name_that_no_entry_has_means_those_that_begin_with_it(tmp_path):
    study = only(tmp_path, PRESETS, "evaluate.maths.rows=7", "evaluate.safety.rows=5")
    assert {name: entry.rows for name, entry in study.evaluate.items()} == {
        "maths_simple": 7, "maths_medium": 7, "safety": 5
    }  # fmt: skip
    assert list(only(tmp_path, PRESETS, "evaluate=maths").evaluate) == ["maths_simple", "maths_medium"]
    exact = put(PRESETS, "evaluate.maths", {"format": "raw"})
    rows = {name: entry.rows for name, entry in only(tmp_path, exact, "evaluate.maths.rows=7").evaluate.items()}
    assert (rows["maths"], rows["maths_medium"]) == (7, 41)
    assert "did you mean" in refused(tmp_path, PRESETS, "evaluate=math")
