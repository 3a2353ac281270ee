"""A machine without bitsandbytes, for real: a Python that sees every installed package but that one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

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


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """A folder with a link to every installed package but bitsandbytes."""
    folder = tmp_path_factory.mktemp("packages")
    for place in (Path(p) for p in sys.path if p.endswith("site-packages")):
        for path in place.iterdir():
            if not path.name.startswith("bitsandbytes") and not (folder / path.name).exists():
                (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture
def without(tmp_path, packages):
    """Run the command line there, on the study with some changes."""

    def run(verb, *arguments, **fields):
        (tmp_path / "four.yaml").write_text(yaml.safe_dump(STUDY | fields, sort_keys=False))
        import tunelab

        source = Path(tunelab.__file__).parents[1]
        variables = {"PYTHONPATH": f"{source}:{packages}", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-S", "-c", "from tunelab.cli import main; main()", verb, "four.yaml", *arguments]
        environment = {**os.environ, **variables, "COLUMNS": "200"}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def allowing(**fields):
    recipe = STUDY["recipe"] | {"qlora": {"fallback": "lora"}}
    return {"recipe": recipe, **fields}


def test_the_library_is_really_missing(packages):
    code = "import peft, transformers\ntry:\n import bitsandbytes\nexcept ImportError:\n print('missing')"
    command = [sys.executable, "-S", "-c", code]
    variables = {**os.environ, "PYTHONPATH": str(packages)}
    result = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
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
