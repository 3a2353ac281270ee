"""What kills a process costs one step at most, and is said."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from engine_steps import starts

SCRIPT = Path(__file__).with_name("supervised_process.py")


def start(folder, deaths, killed_by="SIGSEGV"):
    """Start a supervised run; its store is ``folder/store``."""
    return subprocess.Popen(
        [sys.executable, SCRIPT, folder / "store", folder / "log", str(deaths), killed_by],
        stderr=subprocess.PIPE,
        text=True,
    )


def done(folder):
    """Names of the steps with a record."""
    return {path.parent.name.rpartition("-")[0] for path in folder.glob("store/work/*/record.json")}


def wait_until_running(folder):
    """Wait for the step that waits, and return the id of the process that runs it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in folder.glob("store/work/dies-*/attempts.jsonl"):
            if lines := path.read_text().splitlines():
                return json.loads(lines[-1])["pid"]
        time.sleep(0.02)
    raise AssertionError("the step did not start")


def is_alive(pid):
    """Whether there is such a process, not counting one that nobody has asked about since it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_step_whose_process_dies_is_tried_again_from_where_it_was(tmp_path):
    process = start(tmp_path, deaths=1)
    _, said = process.communicate()
    assert process.returncode == 0
    assert done(tmp_path) == {"before", "dies", "beside"}
    assert starts(tmp_path / "log") == ["before", "dies", "dies", "beside"]
    assert "work/dies-" in said
    assert "SIGSEGV ended its process; trying again in a fresh one" in said


@pytest.mark.parametrize(("killed_by", "hint"), [("SIGSEGV", False), ("SIGKILL", True)])
def test_a_step_that_dies_twice_has_failed_and_the_others_go_on(tmp_path, killed_by, hint):
    process = start(tmp_path, deaths=9, killed_by=killed_by)
    process.communicate()
    assert process.returncode == 1
    assert done(tmp_path) == {"before", "beside"}
    assert starts(tmp_path / "log") == ["before", "dies", "dies", "beside"]
    [failed] = tmp_path.glob("store/work/dies-*/failed.json")
    error = json.loads(failed.read_text())["error"]
    assert error.startswith(f"{killed_by} ended its process 2 times")
    assert ("memory" in error) == hint


def test_a_failure_by_death_is_tried_again_by_the_next_run(tmp_path):
    start(tmp_path, deaths=9).communicate()
    process = start(tmp_path, deaths=2)
    process.communicate()
    assert process.returncode == 0
    assert done(tmp_path) == {"before", "dies", "beside"}


def test_the_steps_die_with_the_run_that_is_killed(tmp_path):
    process = start(tmp_path, deaths=-1)
    worker = wait_until_running(tmp_path)
    assert worker != process.pid
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while is_alive(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(worker)


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_it_ends_its_steps_and_says_that_it_was_interrupted(tmp_path, asked):
    process = start(tmp_path, deaths=-1)
    worker = wait_until_running(tmp_path)
    process.send_signal(asked)
    process.communicate()
    assert process.returncode == 130
    assert not is_alive(worker)
