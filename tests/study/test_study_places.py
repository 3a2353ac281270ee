"""Relative paths: in a study file they start at the file, in an override where it is typed."""

import shutil
from pathlib import Path

import pytest
import yaml
from study_files import changed, put

from tunelab.models.spec import resolve
from tunelab.study.open import open_study

TASK = """
from tunelab.tasks.arithmetic import Arithmetic

class Echo(Arithmetic):
    name = "echo"
    version = 1
"""
FILES = {"train": "rows.jsonl", "test": "rows.jsonl"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Two folders with a model, a task and rows each, the study in one of them, the user in the other."""
    for number, name in enumerate(("studies", "here")):
        shutil.copytree(Path(resolve("tiny").location), tmp_path / name / "models" / "mine")
        (tmp_path / name / "models" / "mine" / "generation_config.json").write_text(f'{{"seed": {number}}}')
        (tmp_path / name / "task.py").write_text(TASK.replace("version = 1", f"version = {number}"))
        (tmp_path / name / "rows.jsonl").write_text(f'{{"question": "{number}?", "answer": "#### 2"}}\n')
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def found(here, raw, *overrides):
    """Open a study that lies in another folder than the current one; return its training step."""
    (here / "studies" / "study.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return open_study("../studies/study.yaml", overrides, here / "store").compiled.train["sft_raw"]


def model(step):
    assert step.blocked is None
    return Path(step.circumstance["model"]["location"]).relative_to(Path.cwd().parent).parts[0]


@pytest.mark.parametrize("name", ["models/mine", "./models/mine"])
@pytest.mark.parametrize(
    "field", ["model", "train.sft_raw.model", "recipe.model", "sweep.model", "sweep.train.sft_raw.model"]
)
def test_a_model_is_looked_for_where_its_name_was_written(here, name, field):
    _, dot, key = field.partition("sweep.")
    written = put(changed(), "sweep", {key: [name]}) if dot else put(changed(), field, name)
    assert model(found(here, written)) == "studies"
    override = f"sweep={{{key}: [{name}]}}" if dot else f"{field}={name}"
    assert model(found(here, changed(model="tiny"), override)) == "here"


def test_a_task_is_looked_for_where_its_name_was_written(here):
    written, typed = found(here, changed(task="task.py:Echo")), found(here, changed(), "task=task.py:Echo")
    assert [step.inputs["rows"].settings["task"]["version"] for step in (written, typed)] == [0, 1]


@pytest.mark.parametrize("override", ["data.files.train=rows.jsonl", "data.files={train: rows.jsonl}"])
def test_data_files_are_looked_for_where_their_names_were_written(here, override):
    written = found(here, changed(task="gsm8k", data={"files": FILES}))
    typed = found(here, changed(task="gsm8k", data={"files": FILES}), override)
    sources = [step.inputs["rows"].settings["source"] for step in (written, typed)]
    assert sources[0] != sources[1]
    assert None not in sources


@pytest.mark.parametrize(
    "override", ["formats.raw.few_shots.file=rows.jsonl", "formats.raw.few_shots={k: 1, file: rows.jsonl}"]
)
def test_worked_examples_are_looked_for_where_their_file_was_written(here, override):
    raw = put(changed(task="gsm8k", data={"files": FILES}), "formats.raw.few_shots", {"k": 1, "file": "rows.jsonl"})
    written, typed = found(here, raw).inputs["shots"], found(here, raw, override).inputs["shots"]
    assert written.settings["source"] != typed.settings["source"]
    assert None not in (written.settings["source"], typed.settings["source"])


def test_names_that_are_no_paths_stay_as_they_are(here):
    step = found(here, changed(), "model=tiny", "task=gsm8k", "question=./models/mine", "data.source=builtin")
    assert (step.circumstance["model"]["name"], step.circumstance["task"]) == ("tiny", "gsm8k")
    assert "somebody/gone" in found(here, changed(), "model=somebody/gone").blocked
    assert "here/gone has no config.json" in found(here, changed(), "model=./gone").blocked


def test_a_bundled_study_takes_paths_from_the_current_folder(here):
    opened = open_study("quickstart", ["model=models/mine", "train=sft_chat"], here / "store")
    assert model(opened.compiled.train["sft_chat"]) == "here"


def test_a_plan_is_the_same_from_wherever_it_is_asked_for(here, monkeypatch):
    first = found(here, changed(), "model=models/mine").fingerprint
    monkeypatch.chdir(here)
    path = str(here / "studies" / "study.yaml")
    again = open_study(path, ["model=here/models/mine"], here / "store").compiled.train["sft_raw"]
    assert again.fingerprint == first
