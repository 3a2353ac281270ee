"""Weights from elsewhere in the place of a training: what is taken, what is refused, what is told."""

import json
import shutil

import pytest
from study_files import changed, compiled, kinds, only

from tunelab.engine.runner import Runner
from tunelab.errors import StudyError
from tunelab.study.api import SilentReporter, run
from tunelab.study.compile import compile_study
from tunelab.study.configurations import configuration
from tunelab.study.open import only_data, only_trained, open_points
from tunelab.study.read import read_study
from tunelab.study.smoke import smoke

RECIPE = {
    "method": "sft",
    "loss": "completion",
    "adaptation": "lora",
    "lr": 0.002,
    "epochs": 1,
    "batch_size": 8,
    "rows": 64,
    "format": "chat",
    "lora": {"rank": 4},
}
SMALL = {
    "formats": {"chat": {"template": "chat"}},
    "recipe": RECIPE,
    "evaluation": {"rows": 12, "max_new_tokens": 16, "format": "chat"},
    "evaluate": {"chat": {}},
    "hardware": {"device": "cpu"},
}


def small(name, train, **fields):
    return changed(**{**SMALL, "study": name, "train": train, **fields})


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The models folder of a finished study: an adapter, one over 4-bit weights, and full weights."""
    folder = tmp_path_factory.mktemp("finished")
    train = {"plain": {"lr": 0.02}, "four": {"adaptation": "qlora"}, "whole": {"adaptation": "full", "lr": 1e-4}}
    run(only(folder, small("first", train)), store=folder / "store", results=folder / "results")
    return folder / "results" / "first" / "models"


def adopted(folder, models, **train):
    """Run a study that adopts; return its comparison, and the folder of its results."""
    entries = {name: {**entry, "from_checkpoint": str(models / name)} for name, entry in train.items()}
    study = only(folder, small("second", entries))
    return run(study, store=folder / "store", results=folder / "results"), folder / "results" / "second"


def test_adopted_weights_answer_as_the_variants_that_they_came_from(tmp_path, models):
    _, found = adopted(tmp_path, models, plain={}, four={"adaptation": "qlora"}, whole={"adaptation": "full"})
    first = models.parent
    for name in ("plain", "four", "whole"):
        for file in ("scores.jsonl", "outputs.jsonl"):
            path = f"eval/{name}_eval_chat/{file}"
            assert (found / path).read_bytes() == (first / path).read_bytes()
    answers = {(first / "eval" / f"{n}_eval_chat" / "outputs.jsonl").read_bytes() for n in ("plain", "four", "whole")}
    assert len(answers) == 3


def test_the_report_says_what_is_not_known_of_adopted_weights(tmp_path, models):
    _, found = adopted(tmp_path, models, plain={})
    page = (found / "report" / "index.html").read_text()
    assert "Variants that were adopted, not trained" in page
    assert str(models / "plain") in page
    assert "Nothing was trained." in page
    assert "not checked" in page


def test_nothing_is_trained_and_no_training_rows_are_read(tmp_path, models):
    found = compiled(tmp_path, small("second", {"plain": {"from_checkpoint": str(models / "plain")}}))
    assert kinds(found) == {"prepare": 1, "adopt": 1, "generate": 2, "score": 2, "compare": 1, "report": 1}


def test_what_is_adopted_is_its_content_not_its_place(tmp_path, models):
    def fingerprint(place):
        return compiled(tmp_path, small("x", {"a": {"from_checkpoint": str(place)}})).train["a"].fingerprint

    copy = tmp_path / "copy"
    shutil.copytree(models / "plain", copy)
    assert fingerprint(copy) == fingerprint(models / "plain")
    assert fingerprint(copy) != fingerprint(models / "whole")
    settings = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(json.dumps(settings | {"lora_alpha": 99}))
    assert fingerprint(copy) != fingerprint(models / "plain")


def test_a_path_starts_where_the_study_file_lies(tmp_path, models):
    shutil.copytree(models / "plain", tmp_path / "mine")
    step = compiled(tmp_path, small("x", {"a": {"from_checkpoint": "mine"}})).train["a"]
    assert step.blocked is None
    assert step.circumstance["checkpoint"]["location"] == str(tmp_path / "mine")


def test_folders_that_hold_no_weights_are_refused_before_anything_runs(tmp_path, models):
    def blocked(place):
        return compiled(tmp_path, small("x", {"a": {"from_checkpoint": place}})).train["a"].blocked

    (tmp_path / "empty").mkdir()
    assert "holds neither adapter_config.json nor config.json" in blocked("empty")
    assert "holds nothing" in blocked("./nowhere")
    shutil.copytree(models / "plain", tmp_path / "cut")
    (tmp_path / "cut" / "adapter_model.safetensors").unlink()
    assert "has adapter_config.json and no weights" in blocked("cut")


def test_a_hub_id_that_is_nowhere_is_told_with_both_ways_to_read_it(tmp_path):
    step = compiled(tmp_path, small("x", {"a": {"from_checkpoint": "nobody/nothing"}})).train["a"]
    assert f"got 'nobody/nothing', which is no folder from {tmp_path}" in step.blocked
    assert "hub" in step.blocked
    with pytest.raises(StudyError, match="nobody/nothing"):
        run(only(tmp_path, small("x", {"a": {"from_checkpoint": "nobody/nothing"}})), store=tmp_path / "store")


@pytest.mark.parametrize(
    ("changes", "told"),
    [({}, []), ({"base_model_name_or_path": "someone/else"}, ["someone/else"]), ({"r": 7}, ["rank 7"])],
)
def test_a_checkpoint_that_contradicts_the_study_is_told(tmp_path, models, changes, told):
    copy = tmp_path / "copy"
    shutil.copytree(models / "plain", copy)
    settings = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(json.dumps(settings | changes))
    found = open_points(
        [("", only(tmp_path, small("x", {"a": {"from_checkpoint": "copy"}})))], tmp_path, tmp_path / "s"
    )
    step = found.compiled.train["a"]
    assert Runner(found.store, SilentReporter()).run([step]).ok
    warnings = found.store.open(step).record.facts["adopted"]["warnings"]
    assert len(warnings) == len(told)
    assert all(word in warning for word, warning in zip(told, warnings, strict=True))


def test_an_adapter_of_another_shape_fails_in_one_line(tmp_path, models):
    copy = tmp_path / "copy"
    shutil.copytree(models / "plain", copy)
    settings = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(json.dumps(settings | {"r": 7}))
    found = open_points(
        [("", only(tmp_path, small("x", {"a": {"from_checkpoint": "copy"}})))], tmp_path, tmp_path / "s"
    )
    outcome = Runner(found.store, SilentReporter()).run([found.compiled.scores["a/chat"]])
    [message] = outcome.failures().values()
    assert "does not fit the model 'tiny'" in message
    assert "\n" not in message


def test_a_checkpoint_of_the_study_goes_to_its_only_entry(tmp_path, models):
    place = str(models / "plain")
    study = only(tmp_path, small("x", {"a": {}}, from_checkpoint=place))
    assert (study.train["a"].from_checkpoint, study.from_checkpoint) == (place, None)
    with pytest.raises(StudyError, match=r"train\.a\.from_checkpoint or train\.b\.from_checkpoint"):
        only(tmp_path, small("x", {"a": {}, "b": {}}, from_checkpoint=place))


def test_adopted_weights_have_no_seeds(tmp_path, models):
    train = {"a": {"from_checkpoint": str(models / "plain")}, "b": {}}
    found = compiled(tmp_path, small("x", train, seeds=[0, 1]))
    assert list(found.train) == ["a", "b#0", "b#1"]


def test_an_evaluation_alone_keeps_what_is_adopted_and_data_leaves_it_out(tmp_path, models):
    train = {"a": {"from_checkpoint": str(models / "plain")}, "b": {}}
    found = open_points([("", only(tmp_path, small("x", train)))], tmp_path, tmp_path / "s")
    assert list(only_trained(found).compiled.train) == ["a"]
    assert [step.slug for step in only_data(found).targets()] == ["b"]


def test_a_configuration_adopts_the_same_weights(tmp_path, models):
    found = compiled(tmp_path, small("x", {"a": {"from_checkpoint": str(models / "plain")}}))
    (tmp_path / "a.json").write_text(json.dumps(configuration(found, "a")))
    again = compile_study(read_study(str(tmp_path / "a.json")), tmp_path)
    assert again.scores["a/chat"].fingerprint == found.scores["a/chat"].fingerprint


def test_a_smoke_run_adopts_folders_and_trains_in_place_of_the_hub(tmp_path, models):
    train = {"here": {"from_checkpoint": str(models / "plain")}, "there": {"from_checkpoint": "nobody/nothing"}}
    shrunk = smoke(only(tmp_path, small("x", train)), tmp_path)
    kinds_of = {name: step.kind for name, step in compile_study([("", shrunk)], tmp_path).train.items()}
    assert kinds_of == {"here": "adopt", "there": "train"}


def test_the_declared_adaptation_decides_about_the_base_below_an_adopted_adapter(tmp_path, models):
    _, found = adopted(tmp_path, models, four={"adaptation": "lora"})
    path = "eval/four_eval_chat/outputs.jsonl"
    assert (found / path).read_bytes() != (models.parent / path).read_bytes()
