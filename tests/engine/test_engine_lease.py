"""Leases, with real processes: shared work is done once, the dead are replaced, the slow are respected."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from engine_steps import OUT, give_lease_away, lose_lease_once, run, starts, step, write
from filelock import FileLock

from tunelab.engine import lease
from tunelab.engine.attempt import Attempt
from tunelab.engine.lease import STALE_SECONDS
from tunelab.engine.store import Store
from tunelab.errors import LeaseLost

SCRIPT = Path(__file__).with_name("engine_process.py")


def process(store, graph, log, pause):
    """Start a process that runs a graph on the store."""
    return subprocess.Popen([sys.executable, SCRIPT, store.root, graph, log, str(pause)])


def wait_for(condition):
    """Wait until ``condition`` holds, for 20 seconds at most."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_two_processes_share_the_steps_and_run_each_once(store, tmp_path):
    log = tmp_path / "log"
    both = [process(store, "wide", log, 0.2) for _ in range(2)]
    assert [p.wait() for p in both] == [0, 0]
    rows = [line.split() for line in log.read_text().splitlines()]
    assert Counter(name for name, _ in rows) == Counter({f"w{n}": 1 for n in range(12)})
    assert {int(pid) for _, pid in rows} == {p.pid for p in both}


def test_only_one_of_many_claims_at_the_same_moment_wins(store):
    with ThreadPoolExecutor(8) as threads:
        for number in range(20):
            one = step(write, f"s{number}")
            held = [won for won in threads.map(store.claim, [one] * 8) if won is not None]
            assert len(held) == 1
            held[0].release()


def test_a_step_of_a_killed_process_is_taken_over_at_once(store, tmp_path):
    log = tmp_path / "log"
    killed = process(store, "one", log, 60)
    one = step(write, "one", circumstance={"log": str(log)})
    wait_for(lambda: starts(log) == ["one"])
    assert store.is_running(one)
    assert store.claim(one) is None
    killed.kill()
    began = time.monotonic()
    outcome, events = run(store, one)
    killed.wait()
    assert (outcome.ok, events.started_names) == (True, ["one"])
    assert time.monotonic() - began < 5


def test_a_process_id_that_was_given_to_another_process_is_not_its_owner(store):
    one = step(write, "one")
    held = store.claim(one)
    path = store.directory(one) / "lease.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"born": "1"}))
    assert not store.is_running(one)
    held.release()


def test_a_lease_of_another_machine_is_respected_while_fresh_and_taken_over_when_stale(store):
    one = step(write, "one")
    store.claim(one).release()
    give_lease_away(store.directory(one), age=STALE_SECONDS - 20)
    assert store.is_running(one)
    assert store.claim(one) is None
    give_lease_away(store.directory(one), age=STALE_SECONDS + 1)
    assert not store.is_running(one)
    outcome, _ = run(store, one)
    assert outcome.ok
    assert not (store.directory(one) / "lease.json").exists()


def test_a_heartbeat_keeps_a_lease_fresh(store, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.02)
    one = step(write, "one")
    held = store.claim(one)
    path = store.directory(one) / "lease.json"
    os.utime(path, (1, 1))
    wait_for(lambda: path.stat().st_mtime > 1)
    held.release()
    assert not path.exists()


def test_a_heartbeat_never_touches_the_lease_of_another(store, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.02)
    one = step(write, "one")
    held = store.claim(one)
    give_lease_away(store.directory(one), age=3600)
    wait_for(lambda: held.lost)
    held.release()
    path = store.directory(one) / "lease.json"
    assert json.loads(path.read_text())["token"] == "theirs"
    assert time.time() - path.stat().st_mtime > 3000


def test_an_owner_that_lost_its_lease_cannot_complete_the_step(store):
    one = step(write, "one")
    held = store.claim(one)
    give_lease_away(store.directory(one), age=0)
    with pytest.raises(LeaseLost, match=f"^{one.name}: another process took this step over"):
        store.complete(one, held, Attempt(store.directory(one)).record({}))
    held.release()
    assert store.find(one) is None
    assert store.is_running(one)


@pytest.mark.parametrize("then", ["end", "fail"])
def test_the_end_of_a_step_that_was_taken_over_leaves_no_trace(store, tmp_path, then):
    one = step(lose_lease_once, "one", circumstance={"log": str(tmp_path / "log"), "then": then})
    outcome, _ = run(store, one)
    assert outcome.ok
    assert starts(tmp_path / "log") == ["one", "one"]
    seen = json.loads(store.find(one).path(OUT).read_text())
    assert {"record.json", "failed.json"}.isdisjoint(seen)


def test_a_step_stops_at_its_next_sign_of_progress_once_its_lease_is_lost(store, tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.02)
    one = step(lose_lease_once, "one", circumstance={"log": str(tmp_path / "log"), "then": "report"})
    outcome, events = run(store, one)
    assert outcome.ok
    assert starts(tmp_path / "log") == ["one", "one"]
    assert 0 < len(events.moved) < 250


def test_a_step_that_fails_in_one_process_is_not_tried_again_by_one_that_waited_for_it(store, tmp_path):
    log = tmp_path / "log"
    both = [process(store, "bad", log, 2) for _ in range(2)]
    assert [p.wait() for p in both] == [1, 1]
    assert starts(log) == ["bad"]


def test_a_step_finished_while_another_process_was_about_to_claim_it_is_not_run_again(store, tmp_path):
    one, elsewhere = step(write, "one"), Store(tmp_path / "elsewhere")
    run(elsewhere, one)
    store.root.mkdir()
    with ThreadPoolExecutor(1) as thread:
        with FileLock(store.root / "claims.lock"):
            ran = thread.submit(run, store, one)
            time.sleep(0.2)
            shutil.copytree(elsewhere.directory(one), store.directory(one))
        outcome, events = ran.result()
    assert (outcome.ok, events.started_names) == (True, [])
