"""The examples run, and the public surface is what the examples and the notebooks use."""

import os
import subprocess
import sys
from pathlib import Path

import tunelab

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_first_study_prints_a_verdict_for_each_variant(tmp_path):
    variables = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(EXAMPLES / "first_study.py")]
    result = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=True)
    assert "sft_80/chat: " in result.stdout
    assert result.stdout.strip().endswith("better")


def test_the_public_surface_is_this():
    models = ["Data", "Evaluate", "Format", "Hardware", "Study", "Train"]
    assert tunelab.__all__ == [*models, "open_results", "run", "stats_of"]
    assert all(getattr(tunelab, name) for name in tunelab.__all__)
