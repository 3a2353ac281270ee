"""Results by name: the links are those of the latest run, and what is not a link of ours is left alone."""

import copy
import json
import shutil

import pytest
from study_files import STUDY

from tunelab.errors import StepError, StoreError, StudyError
from tunelab.study.api import run
from tunelab.study.spec import Study

SMALL = {"format": "chat", "loss": "all", "method": "sft", "adaptation": "full", "lr": 1e-3, "epochs": 1}
SMALL |= {"batch_size": 4, "rows": 8, "max_steps": 1}


def ran(folder, train=("one", "two"), evaluate=("chat", "raw"), rows=2, **settings):
    """Run a small study with these variants and evaluations, and return the folder of its results."""
    raw = copy.deepcopy(STUDY) | {"recipe": {}, "evaluation": {}}
    raw["train"] = dict.fromkeys(train, SMALL | settings)
    raw["evaluate"] = {name: {"format": name, "rows": rows, "max_new_tokens": 2} for name in evaluate}
    run(Study.model_validate(raw), store=folder / "store", results=folder / "results")
    return folder / "results" / "templates"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_links_of_variants_and_evaluations_that_are_gone_are_removed(tmp_path):
    root = ran(tmp_path)
    assert names(root / "models") == ["one", "two"]
    assert len(names(root / "eval")) == 6
    ran(tmp_path, train=("two",), evaluate=("raw",))
    assert names(root / "models") == ["two"]
    assert names(root / "eval") == ["base_eval_raw", "two_eval_raw"]
    assert all(path.exists() for path in root.rglob("*"))


def test_results_of_an_earlier_run_do_not_pass_for_those_of_one_that_failed(tmp_path):
    root = ran(tmp_path, train=("one",), evaluate=("raw",))
    (root / "eval" / "one_eval_raw" / "notes.md").write_text("my own")
    assert {"comparison.json", "final_metrics.csv", "final_metrics.json", "summary.csv"} < set(names(root))
    for kind in ("train", "generate"):
        shutil.rmtree(tmp_path / "store" / kind)
        (tmp_path / "store" / kind).write_text("in the way")
    with pytest.raises(StepError, match="Not a directory"):
        ran(tmp_path, train=("one",), evaluate=("raw",), rows=3)
    assert names(root / "models") == []
    assert names(root / "eval" / "one_eval_raw") == ["notes.md"]
    assert not {"comparison.json", "final_metrics.csv", "final_metrics.json", "summary.csv"} & set(names(root))
    assert names(root / "evaluation") == []


def test_checkpoints_are_found_by_their_step_and_can_be_evaluated_by_it(tmp_path):
    root = ran(tmp_path, train=("one",), max_steps=6, epochs=3, checkpoints=3)
    assert names(root / "checkpoints" / "one") == ["step_2", "step_4", "step_6"]
    there = str(root / "checkpoints" / "one" / "step_2")
    again = ran(tmp_path, train=("early",), evaluate=("chat",), from_checkpoint=there)
    assert (again / "models" / "early" / "model.safetensors").read_bytes() == (
        tmp_path / "store" / next((tmp_path / "store").glob("train/one-*/checkpoints/step-000002")).relative_to(
            tmp_path / "store") / "model.safetensors"
    ).read_bytes()  # fmt: skip
    again = ran(tmp_path, train=("one",), evaluate=("chat",), from_checkpoint=str(root / "checkpoints/one/step_4"))
    assert names(again / "checkpoints" / "one") == ["step_2", "step_4", "step_6"]
    assert all(path.exists() for path in (again / "checkpoints" / "one").iterdir())
    [written] = [json.loads(p.read_text()) for p in (again / "evaluation").glob("*.json") if "base" not in p.name]
    assert written["checkpoint"].endswith("checkpoints/one/step_4")


def test_checkpoints_of_a_new_training_take_the_place_of_the_old_ones_and_what_the_store_lost_is_removed(tmp_path):
    root = ran(tmp_path, train=("one",), max_steps=6, epochs=3, checkpoints=3)
    ran(tmp_path, train=("one",), max_steps=4, epochs=3, checkpoints=2)
    assert names(root / "checkpoints" / "one") == ["step_2", "step_4"]
    shutil.rmtree(tmp_path / "store" / "train")
    ran(tmp_path, train=("two",))
    assert names(root / "checkpoints") == []


def test_a_checkpoint_that_is_not_there_is_no_hub_id(tmp_path):
    with pytest.raises(StudyError, match=r"results/templates/checkpoints/one/step_9 holds nothing"):
        ran(tmp_path, train=("one",), from_checkpoint="results/templates/checkpoints/one/step_9")


def test_what_is_no_link_of_ours_is_kept(tmp_path):
    root = ran(tmp_path)
    for place in ("models/mine.txt", "eval/one_eval_raw/notes.md", "eval/plots/own.png"):
        (root / place).parent.mkdir(exist_ok=True)
        (root / place).write_text("my own")
    ran(tmp_path, train=("two",), evaluate=("raw",))
    assert names(root / "models") == ["mine.txt", "two"]
    assert names(root / "eval" / "one_eval_raw") == ["notes.md"]
    assert (root / "eval" / "plots" / "own.png").read_text() == "my own"


def test_a_folder_in_the_place_of_a_link_is_refused_and_kept(tmp_path):
    (tmp_path / "results" / "templates" / "comparison.json").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"comparison\.json: is not a link of ours; move it away"):
        ran(tmp_path, train=(), evaluate=("raw",))
    assert (tmp_path / "results" / "templates" / "comparison.json").is_dir()
