"""The promise of the store, tested on the real thing: kill -9 at any moment costs nothing but time."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

KILLS = 20
LONGEST_SECONDS = 9.0


def start(folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", "from tunelab.cli import main; main()", "run", "quickstart", "--quiet"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)


def scores(folder: Path) -> dict[str, str]:
    found = folder.glob(".tunelab/score/*/scores.jsonl")
    return {path.parent.name: path.read_text() for path in found}


def rerun_after_completion(folder: Path) -> list[str]:
    """Steps that were started again although their record was there."""
    again: list[str] = []
    for path in folder.glob(".tunelab/*/*/record.json"):
        events = [json.loads(line) for line in (path.parent / "attempts.jsonl").read_text().splitlines()]
        starts = sum(event["event"] == "started" for event in events)
        if starts != json.loads(path.read_text())["attempts"]:
            again.append(path.parent.name)
    return again


@pytest.mark.timeout(600)
def test_killed_at_twenty_random_moments_ends_with_the_scores_of_an_undisturbed_run(tmp_path):
    undisturbed = tmp_path / "undisturbed"
    assert start(undisturbed).wait() == 0
    moments = random.Random(7)
    folders = [tmp_path / "killed-0"]
    kills = 0
    while kills < KILLS:
        process = start(folders[-1])
        time.sleep(moments.uniform(0.5, LONGEST_SECONDS))
        if process.poll() is not None:
            assert process.returncode == 0
            folders.append(tmp_path / f"killed-{len(folders)}")
            continue
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    assert start(folders[-1]).wait() == 0
    for folder in folders:
        assert scores(folder) == scores(undisturbed)
        assert rerun_after_completion(folder) == []
