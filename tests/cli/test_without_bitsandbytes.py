"""A machine without bitsandbytes, for real: a Python whose imports find every installed package but that one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import tunelab

STUDY = {
    "study": "four",
    "question": "Does it run?",
    "model": "tiny",
    "task": "arithmetic",
    "formats": {"chat": {"template": "chat"}},
    "recipe": {
        "method": "sft",
        "loss": "completion",
        "adaptation": "qlora",
        "lr": 0.001,
        "epochs": 1,
        "batch_size": 4,
        "rows": 8,
        "format": "chat",
    },
    "train": {"small": {}},
    "evaluation": {"rows": 4, "max_new_tokens": 4, "format": "chat"},
    "evaluate": {"chat": {}},
    "hardware": {"device": "cpu"},
}


FINDER = """
import sys
from importlib.machinery import PathFinder


class AllButOne(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] == "bitsandbytes" else PathFinder.find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = AllButOne
"""
"""What Python runs at its start: the search of sys.path passes over one package."""


@pytest.fixture
def lacking(tmp_path):
    """The environment of such a Python."""
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "sitecustomize.py").write_text(FINDER)
    source = Path(tunelab.__file__).parents[1]
    variables = {"PYTHONPATH": f"{tmp_path / 'start'}:{source}", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **variables, "COLUMNS": "200"}


@pytest.fixture
def without(tmp_path, lacking):
    """Run the command line there, on the study with some changes."""

    def run(verb, *arguments, **fields):
        (tmp_path / "four.yaml").write_text(yaml.safe_dump(STUDY | fields, sort_keys=False))
        command = [sys.executable, "-c", "from tunelab.cli import main; main()", verb, "four.yaml", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=lacking, capture_output=True, text=True, check=False)

    return run


def allowing(**fields):
    recipe = STUDY["recipe"] | {"qlora": {"fallback": "lora"}}
    return {"recipe": recipe, **fields}


def test_the_library_is_really_missing(lacking):
    code = "import peft, transformers\ntry:\n import bitsandbytes\nexcept ImportError:\n print('missing')"
    result = subprocess.run([sys.executable, "-c", code], env=lacking, capture_output=True, text=True, check=False)
    assert result.stdout == "missing\n", result.stderr


def test_training_is_blocked_in_one_line_that_says_what_to_do(without):
    planned = json.loads(without("plan", "--json").stdout)
    blocked = {s["kind"]: s["reason"] for s in planned["steps"] if s["status"] == "blocked"}
    assert blocked["train"] == (
        "recipe.adaptation: got qlora, but bitsandbytes is not installed; pip install 'tunelab[qlora]', "
        "or set qlora.fallback: lora"
    )
    result = without("run")
    assert result.returncode == 2
    assert result.stderr == f"tunelab: {blocked['train']}\n"


def test_a_study_that_allows_it_trains_plain_lora_and_says_so_everywhere(without, tmp_path):
    why = "small: asked qlora, plain lora runs: bitsandbytes is not installed; pip install 'tunelab[qlora]'"
    plain = json.loads(without("plan", "--json", recipe=STUDY["recipe"] | {"adaptation": "lora"}).stdout)
    planned = json.loads(without("plan", "--json", **allowing()).stdout)
    train = [s["name"] for s in planned["steps"] if s["kind"] == "train"]
    assert train == [s["name"] for s in plain["steps"] if s["kind"] == "train"]
    assert why in without("plan", **allowing()).stdout
    result = without("run", **allowing())
    assert result.returncode == 0, result.stderr
    assert f"tunelab: {why}\n" in result.stderr
    record = json.loads((tmp_path / ".tunelab" / train[0] / "record.json").read_text())
    assert record["settings"]["recipe"]["adaptation"] == "lora"
    assert f"small: {record['facts']['fallback']}" == why
    page = (tmp_path / "results" / "four" / "report" / "index.html").read_text()
    assert "small: asked qlora, plain lora runs" in page


def test_untouched_models_in_4_bit_are_blocked_or_fall_back_like_the_entries(without):
    lora = {"recipe": STUDY["recipe"] | {"adaptation": "lora"}, "base_weights": "nf4"}
    planned = json.loads(without("plan", "--json", **lora).stdout)
    blocked = [s["reason"] for s in planned["steps"] if s["status"] == "blocked" and s["kind"] == "generate"]
    assert blocked == [
        "base_weights: got nf4, but bitsandbytes is not installed; pip install 'tunelab[qlora]', "
        "or set base_weights: full"
    ]
    planned = json.loads(without("plan", "--json", **allowing(base_weights="nf4")).stdout)
    assert planned["counts"]["blocked"] == 0
    assert planned["notices"]["base"].startswith("asked base_weights: nf4, full weights are loaded")
