"""A study whose tasks run code is refused where nothing keeps the code in, unless it says that it may get out."""

import pytest
from study_files import changed, compiled, only

from tunelab.errors import StudyError, UserError
from tunelab.scoring.code import sandbox
from tunelab.study.api import run
from tunelab.study.doctor import diagnose
from tunelab.study.steps.score import sandbox_of

WHY = "code sandbox: bwrap not found; install bubblewrap"
BARE = {"code": {"sandbox": "none"}}


def study(**fields):
    """Evaluates only, on a task that runs code."""
    declared = {"task": "mbpp", "train": None, "recipe": None, "data": {"source": "builtin"}, **fields}
    return changed(**{"evaluation": None, **declared})


@pytest.fixture(params=[None, WHY])
def machine(request, monkeypatch):
    """A machine on which the sandbox works, and one on which it does not."""
    monkeypatch.setattr(sandbox, "_refusal", lambda: request.param)
    return request.param


@pytest.fixture
def bare(monkeypatch):
    monkeypatch.setattr(sandbox, "_refusal", lambda: WHY)


def test_a_study_that_says_nothing_needs_the_sandbox(tmp_path, machine):
    found = compiled(tmp_path, study())
    assert {step.blocked for step in found.scores.values()} == {machine}
    assert not found.settled.notices


def test_a_study_without_a_sandbox_says_so_in_its_notices(tmp_path, machine):
    found = compiled(tmp_path, study(**BARE))
    assert {step.blocked for step in found.scores.values()} == {None}
    assert found.settled.notices["code sandbox"].startswith("none, as the study asks")
    assert found.settled.notices["code sandbox"].endswith("for mbpp")
    assert {sandbox_of(step) for step in found.scores.values()} == {"none"}
    assert found.report.settings["notices"] == found.settled.notices


def test_what_is_scored_does_not_depend_on_the_sandbox(tmp_path, machine):
    kept, free = compiled(tmp_path, study()), compiled(tmp_path, study(**BARE))
    assert [s.fingerprint for s in kept.scores.values()] == [s.fingerprint for s in free.scores.values()]


def test_a_task_that_runs_no_code_knows_no_sandbox(tmp_path, bare):
    found = compiled(tmp_path, changed(**BARE))
    assert not found.settled.notices
    assert {"sandbox" in step.circumstance for step in found.scores.values()} == {False}


@pytest.mark.parametrize("method", ["grpo", "sft"])
def test_only_a_reward_of_code_blocks_a_training(tmp_path, bare, method):
    entry = {
        "format": "chat",
        "method": method,
        "loss": "completion",
        "adaptation": "full",
        "lr": 0.001,
        "epochs": 1,
        "batch_size": 4,
    }
    found = compiled(tmp_path, study(train={"tuned": entry}, mismatch="allow"))
    assert found.train["tuned"].blocked == (WHY if method == "grpo" else None)


def test_a_run_is_refused_in_one_line_before_anything_runs(tmp_path, bare):
    with pytest.raises(UserError) as refused:
        run(only(tmp_path, study()), store=tmp_path / "store", results=tmp_path / "results")
    assert WHY in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.glob("store/*/*"))


def test_an_unknown_sandbox_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"code\.sandbox"):
        compiled(tmp_path, study(code={"sandbox": "docker"}))


def test_the_doctor_tells_of_the_sandbox(tmp_path, machine):
    [finding] = [finding for finding in diagnose(tmp_path / "store") if finding.what == "code sandbox"]
    assert finding.ok is (None if machine else True)
    assert machine is None or finding.found == WHY
