"""A real disk of one megabyte, filled on purpose."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("engine_disk.py")
MOUNT = 'mount -t tmpfs -o size=1m tmpfs "$0"'


def on_small_disk(folder, command):
    """Run a shell command in a namespace of its own in which ``folder`` is a disk of 1 MB."""
    call = ["unshare", "-rm", "sh", "-c", f"{MOUNT} && {command}", folder, sys.executable, SCRIPT]
    return subprocess.run(call, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What four runs did: too little space for one step, no space for its folder, for any folder, enough space."""
    folder = tmp_path_factory.mktemp("disk")
    try:
        allowed = on_small_disk(folder, "true")
    except FileNotFoundError:
        pytest.skip("needs unshare, to mount a small disk")
    if allowed.returncode != 0:
        pytest.skip(f"mounting a small disk is not permitted here: {allowed.stderr.strip()}")
    made = on_small_disk(folder, '"$1" "$2" "$0"')
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout)


@pytest.fixture
def runs(seen):
    """What the four runs told."""
    return seen["runs"]


def test_a_full_disk_is_one_line_and_leaves_no_record(runs):
    assert runs[0]["states"] == {"small": "done", "big": "failed", "last": "blocked"}
    message = runs[0]["messages"][0]
    assert message.startswith("disk full while writing /")
    assert message.endswith("; free some space and run again: finished work is kept")
    assert "\n" not in message
    assert runs[0]["records"] == ["small"]


def test_a_disk_full_to_the_last_byte_stops_a_step_before_it_starts(runs):
    assert runs[1]["states"] == {"small": "cached", "big": "failed", "last": "blocked"}
    assert runs[2]["states"] == {"new": "failed"}
    assert all(run["messages"][0].startswith("disk full while writing /") for run in runs[1:3])


def test_a_full_disk_leaves_neither_half_written_files_nor_leases(runs):
    assert [run["left"] for run in runs] == [[], [], [], []]


def test_a_line_torn_by_a_full_disk_does_not_spoil_the_next_one(seen):
    assert seen["attempts"] == ["ended", "ended"]


def test_a_rerun_succeeds_once_there_is_space(runs):
    assert runs[3]["states"] == {"small": "cached", "big": "done", "last": "done"}
    assert runs[3]["messages"] == []
