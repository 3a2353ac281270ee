"""The bundled study with a served model, at smoke size: without its server, and with one that is started for it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tunelab.study.open import open_study
from tunelab.study.smoke_server import CACHES, isolated

KEY = "sk-not-to-be-seen-0123456789"
SERVED = "gemma_3_27b"


def servers(folder: Path) -> list[Path]:
    """Processes that run now with a home of a smoke run's server below a folder."""
    found: list[Path] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"HF_HOME={folder}/tunelab-serve-".encode() in (process / "environ").read_bytes():
                found.append(process)
        except OSError:  # it has ended, or is another user's
            continue
    return found


def outputs(folder: Path) -> dict[str, str]:
    """What the served model answered, by sample."""
    path = folder / "results" / "mmmlu-smoke" / "eval" / f"{SERVED}_eval_served" / "outputs.jsonl"
    return {row["id"]: row["output"].strip() for row in map(json.loads, path.read_text().splitlines())}


def compared(folder: Path) -> dict[str, str | None]:
    """Every cell that was scored, with its baseline."""
    cells = json.loads((folder / "results" / "mmmlu-smoke" / "comparison.json").read_text())["cells"]
    return {cell["cell"]: cell["baseline"] for cell in cells}


def test_the_bundled_study_of_a_served_model_runs_whole_without_its_server_and_with_one(tunelab, tmp_path):
    secrets = {"LMSTUDIO_API_KEY": KEY, "OPENAI_API_KEY": KEY, "TMPDIR": str(tmp_path)}
    whole = open_study("mmmlu", [], tmp_path / ".tunelab").compiled.cells
    expected = {c.name: f"{c.baseline.name}/{c.evaluation.name}" if c.baseline else None for c in whole}

    loaded = tunelab("run", "mmmlu", "--smoke", "--json", **secrets)

    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    assert compared(tmp_path) == expected
    answers = outputs(tmp_path)

    asked = tunelab("run", "mmmlu", "--smoke-endpoint", "--json", **secrets)

    assert asked.returncode == 0, asked.stdout + asked.stderr
    assert not servers(tmp_path)
    assert not [*tmp_path.glob("tunelab-serve-*")]
    assert compared(tmp_path) == expected
    found = [json.loads(path.read_text()) for path in (tmp_path / ".tunelab").glob(f"generate/{SERVED}-*/record.json")]
    served, *others = sorted(found, key=lambda record: record["settings"]["backend"])
    assert (served["settings"]["backend"], [it["settings"]["backend"] for it in others]) == (
        "endpoint",
        ["transformers"],
    )
    facts = served["facts"]
    assert facts["server"]["probe"]["system_role"] is True
    assert facts["outputs"] == facts["server"]["answered"] == len(answers) > 0
    assert outputs(tmp_path) == answers
    again = json.loads(tunelab("plan", "mmmlu", "--smoke-endpoint", "--json", **secrets).stdout)
    assert {step["status"] for step in again["steps"]} == {"cached"}
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    said = "".join(it.stdout + it.stderr for it in (loaded, asked))
    assert not [text for text in [*written, said.encode()] if KEY.encode() in text]


def test_the_server_sees_no_cache_that_the_environment_names(tmp_path):
    code = "from huggingface_hub import constants; from transformers.utils import hub; "
    code += "print(constants.HF_HUB_CACHE, constants.HF_ASSETS_CACHE, hub.HF_MODULES_CACHE, constants.HF_HUB_OFFLINE)"
    elsewhere = dict.fromkeys(CACHES, "/elsewhere")
    environment = isolated({**os.environ, **elsewhere}, tmp_path)
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == [*(f"{tmp_path}/{name}" for name in ("hub", "assets", "modules")), "True"]


def test_a_study_without_a_served_model_has_no_use_for_a_server(tunelab):
    found = tunelab("run", "quickstart", "--smoke-endpoint")
    assert found.returncode == 2
    assert found.stderr.strip().endswith("quickstart-smoke has no model behind a server; use --smoke")
