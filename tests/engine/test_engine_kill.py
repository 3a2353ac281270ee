"""Killed at any moment, as often as you like: the end is the same as without."""

import random
import subprocess
import sys
import time
from pathlib import Path

from engine_steps import chain, starts

from tunelab.engine.store import Store

SCRIPT = Path(__file__).with_name("engine_process.py")
STEPS = chain(8)
KILLS = 20


def process(root, log, pause):
    """Start a process that runs the chain."""
    return subprocess.Popen([sys.executable, SCRIPT, root, "chain", log, str(pause)])


def finished(root):
    """Names of the steps that have a record."""
    return {step.slug for step in STEPS if Store(root).find(step) is not None}


def results(root):
    """The checksums of every step's files."""
    return {step.slug: Store(root).find(step).record.files for step in STEPS}


def test_a_run_killed_twenty_times_repeats_nothing_and_ends_like_an_undisturbed_one(tmp_path):
    assert process(tmp_path / "calm", tmp_path / "calm.log", 0).wait() == 0
    root, log, moments, cut = tmp_path / "store", tmp_path / "log", random.Random(1), 0
    for _ in range(KILLS):
        done, before = finished(root), len(starts(log))
        killed = process(root, log, 0.03)
        time.sleep(moments.uniform(0.1, 0.4))
        killed.kill()
        cut += killed.wait() != 0
        assert done.isdisjoint(starts(log)[before:])
    assert cut > KILLS // 4
    assert process(root, log, 0).wait() == 0
    assert results(root) == results(tmp_path / "calm")
    assert len(starts(log)) > len(STEPS)
