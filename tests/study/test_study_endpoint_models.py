"""Models behind a server as a study names them: variants that are evaluated, never trained, known by what they are."""

import json

import pytest
from study_files import changed, compiled, only

from tunelab.errors import StudyError
from tunelab.study.compile import compile_study
from tunelab.study.read import read_study
from tunelab.study.smoke import smoke
from tunelab.study.smoke_server import identity

LARGE = {"endpoint": "http://localhost:1234/v1", "name": "gemma-3-27b-it"}


@pytest.fixture(autouse=True)
def no_address(monkeypatch):
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "LMSTUDIO_ENDPOINT", "LMSTUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def study(**fields):
    return changed(**{"models": {"large": LARGE}, "evaluate": {"chat": {"format": "chat"}}, **fields})


def outputs(found, cell="large/chat"):
    return found.scores[cell].inputs["outputs"]


def named(found):
    return [cell.name for cell in found.cells]


def test_further_models_are_variants_by_their_names_and_are_compared_with_the_studys(tmp_path):
    found = compiled(tmp_path, study(models={"large": LARGE, "other": "./other"}))
    assert named(found) == ["base/chat", "large/chat", "other/chat", "sft_chat/chat", "sft_raw/chat"]
    baselines = {cell.name: cell.baseline and cell.baseline.name for cell in found.cells}
    assert baselines == {
        "base/chat": None,
        "large/chat": "base",
        "other/chat": "base",
        "sft_chat/chat": "base",
        "sft_raw/chat": "base",
    }


def test_a_further_model_may_be_what_the_others_are_compared_with(tmp_path):
    found = compiled(tmp_path, study(baseline="large"))
    assert {cell.baseline and cell.baseline.name for cell in found.cells if cell.variant.name != "large"} == {"large"}
    assert next(cell.baseline for cell in found.cells if cell.variant.name == "large") is None


def test_an_evaluation_may_be_of_a_further_model_alone_or_beside_the_baseline(tmp_path):
    alone = compiled(tmp_path, study(evaluate={"chat": {"format": "chat", "of": ["large"]}}))
    assert [(cell.name, cell.baseline) for cell in alone.cells] == [("large/chat", None)]
    both = compiled(tmp_path, study(evaluate={"chat": {"format": "chat", "of": ["base", "large"]}}))
    assert named(both) == ["base/chat", "large/chat"]
    assert [cell.baseline and cell.baseline.name for cell in both.cells] == [None, "base"]
    of_another = study(evaluate={"chat": {"format": "chat", "of": ["sft_chat"]}})
    assert named(compiled(tmp_path, of_another)) == ["base/chat", "sft_chat/chat"]


def test_a_further_model_that_is_trained_too_is_the_base_of_its_training(tmp_path):
    raw = study(models={"mine": "./mine"})
    raw["train"]["sft_chat"]["model"] = "./mine"
    found = compiled(tmp_path, raw)
    assert "base_mine/chat" not in named(found)
    assert next(c.baseline.name for c in found.cells if c.variant.name == "sft_chat") == "mine"


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"slots": 9, "timeout": 5.0, "attempts": 2, "first_wait": 0.1, "price": {"input": 1, "output": 2}}, True),
        ({"endpoint": "http://localhost:1234"}, True),
        ({"endpoint": "http://localhost:9999/v1"}, False),
        ({"name": "gemma-3-12b-it"}, False),
        ({"server": "lab"}, False),
    ],
)
def test_a_served_model_is_known_by_its_name_and_address_and_not_by_how_it_is_asked(tmp_path, changes, same):
    one = outputs(compiled(tmp_path, study()))
    other = outputs(compiled(tmp_path, study(models={"large": {**LARGE, **changes}})))
    assert (one.fingerprint == other.fingerprint) is same


def test_a_server_that_is_named_may_move(tmp_path):
    places = [{**LARGE, "server": "lab", "endpoint": f"http://localhost:{port}/v1"} for port in (1, 2)]
    found = [outputs(compiled(tmp_path, study(models={"large": place}))).fingerprint for place in places]
    assert found[0] == found[1]


def test_other_prompts_and_budgets_are_another_answer(tmp_path):
    found = {
        outputs(compiled(tmp_path, study(evaluate={"chat": {"format": "chat", **asked}}))).fingerprint
        for asked in ({}, {"max_new_tokens": 5}, {"temperature": 0.5}, {"rows": 7})
    }
    system = study(formats={"chat": {"template": "chat", "system": "Add."}, "raw": {"template": "raw"}})
    assert len({*found, outputs(compiled(tmp_path, system)).fingerprint}) == 5


def test_a_model_elsewhere_blocks_before_anything_runs_unless_the_environment_names_its_server(tmp_path, monkeypatch):
    found = compiled(tmp_path, study(models={"large": {**LARGE, "endpoint": "https://far.example/v1"}}))
    assert "endpoint: got https://far.example/v1, expected a server of this machine" in outputs(found).blocked
    monkeypatch.setenv("LMSTUDIO_ENDPOINT", "http://gpu:1234")
    raw = study()
    (tmp_path / "study.json").write_text(json.dumps(raw))
    [(_, moved)] = read_study(str(tmp_path / "study.json"), ["models.large.endpoint=http://gpu:1234/v1"])
    assert outputs(compile_study([("", moved)], tmp_path)).blocked is None


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (study(model=LARGE), "train.sft_chat.model: missing, and the study's model gemma-3-27b-it is behind a server"),
        (study(models={"sft_chat": LARGE}), "models.sft_chat: the name is taken"),
        (study(models={"base": LARGE}), "models.base: the name is taken"),
        (study(models={"large": {**LARGE, "slot": 2}}), "unknown key 'models.large.slot'; did you mean 'slots'"),
        (study(models={"large": {"endpoint": LARGE["endpoint"]}}), "models.large: name: missing"),
        (study(models={"large": {**LARGE, "slots": 0}}), "models.large: slots: got 0"),
        (study(models={"large": {**LARGE, "endpoint": "localhost:1234"}}), "got 'localhost:1234', expected a URL"),
        (study(models={"large": {**LARGE, "endpoint": "http://me:secret@x/v1"}}), "expected a bare URL"),
        (study(evaluate={"raw": {"format": "raw", "of": ["larg"]}}), "got 'larg', expected a variant"),
    ],
)
def test_mistakes_are_one_line(tmp_path, raw, words):
    with pytest.raises(StudyError) as caught:
        only(tmp_path, raw)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_served_model_cannot_be_trained(tmp_path):
    raw = study()
    raw["train"]["sft_chat"]["model"] = LARGE
    with pytest.raises(StudyError, match=r"train\.sft_chat\.model: got a model behind a server"):
        only(tmp_path, raw)


def test_a_study_of_a_served_model_trains_models_of_its_entries_own(tmp_path):
    raw = study(model=LARGE, models=None)
    for entry in raw["train"].values():
        entry["model"] = "tiny"
    assert named(compiled(tmp_path, raw)) == ["base/chat", "base_tiny/chat", "sft_chat/chat", "sft_raw/chat"]


def test_what_a_server_cannot_do_is_left_out_with_the_reason(tmp_path):
    raw = study(evaluate={"chat": {"format": "chat"}, "raw": {"format": "raw"}})
    found = compiled(tmp_path, raw)
    assert "large/raw" not in named(found)
    assert "behind a server, which writes conversations by its own template" in found.left_out["large/raw"]
    chosen = study(task="sst2", train=None, evaluate={"chat": {"format": "chat", "by": "choose"}})
    assert "no log-probability of a label" in compiled(tmp_path, chosen).left_out["large/chat"]


def test_a_choice_is_answered_by_text_where_nothing_else_is_declared_and_that_is_told(tmp_path):
    found = compiled(tmp_path, study(task="sst2", train=None))
    assert {cell.name: cell.by for cell in found.cells} == {"base/chat": "choose", "large/chat": "generate"}
    assert list(found.settled.notices) == ["large"]
    assert "answers evaluate.chat by: generate" in found.settled.notices["large"]
    written = study(task="sst2", train=None, evaluate={"chat": {"format": "chat", "by": "generate"}})
    assert not compiled(tmp_path, written).settled.notices


def test_a_smoke_run_asks_no_server_unless_one_is_given(tmp_path):
    whole = only(tmp_path, study())
    plain = compile_study([("", smoke(whole, tmp_path))], tmp_path)
    assert named(plain) == named(compile_study([("", whole)], tmp_path))
    assert {outputs(plain, cell).settings["backend"] for cell in named(plain)} == {"transformers"}
    assert outputs(plain).settings["model"] == outputs(plain, "base/chat").settings["model"]
    steps = []
    for port in (1, 2):
        found = compile_study([("", smoke(whole, tmp_path, f"http://127.0.0.1:{port}/v1"))], tmp_path)
        assert [cell.variant.name for cell in found.cells if cell.variant.served] == ["large"]
        steps.append(outputs(found))
        assert steps[-1].circumstance["model"]["url"] == f"http://127.0.0.1:{port}/v1"
    assert steps[0].fingerprint == steps[1].fingerprint
    assert steps[0].settings["model"] == {"served": "tiny", "server": identity()}


def test_without_a_server_a_smoke_run_has_the_cells_of_the_study_where_names_are_alike(tmp_path):
    raw = study(models={"large": LARGE, "named_so": {**LARGE, "name": "tiny"}, "other": "./other"})
    raw["train"]["sft_chat"]["model"] = LARGE["name"]
    raw["evaluate"]["raw"] = {"format": "raw", "of": ["sft_raw", "large"]}
    whole = only(tmp_path, raw)
    full, small = (compile_study([("", it)], tmp_path) for it in (whole, smoke(whole, tmp_path)))
    pairs = [{c.name: c.baseline and c.baseline.name for c in found.cells} for found in (full, small)]
    assert pairs[0] == pairs[1]
    assert pairs[0]["sft_chat/chat"] == f"base_{LARGE['name']}"
    assert small.left_out == full.left_out
    assert outputs(small, "named_so/chat").settings["backend"] == "transformers"
