"""Steps that may run at once: one call for all, and records as if each had run by itself."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from engine_steps import OUT, fail_while, group, run, starts, step, write, write_alone

from tunelab.engine.attempt import Attempt
from tunelab.engine.store import Store


def facts(store, made):
    return [store.find(one).record.facts for one in made]


def begun(store, one):
    """Leave what a process leaves that is killed while it runs a step."""
    store.claim(one).release()
    Attempt(store.directory(one))


def test_steps_of_one_key_are_run_by_one_call_and_each_is_kept(store, tmp_path):
    first = step(write, "first")
    made = group(tmp_path / "log", inputs=[first])
    after = [step(write, f"after-{one.slug}", [one]) for one in made]
    outcome, events = run(store, *after)
    names = [one.name for one in made]
    assert facts(store, made) == [{"with": names}] * 3
    assert {one.slug: outcome.states[one.fingerprint].value for one in made} == dict.fromkeys("abc", "done")
    assert [store.find(one).path(OUT).read_text() for one in after] == ["after-a(a)", "after-b(b)", "after-c(c)"]
    assert events.started_names == ["first", "a", "b", "c", "after-a", "after-b", "after-c"]
    again, _ = run(store, *after)
    assert {state.value for state in again.states.values()} == {"cached"}


def test_whether_steps_run_at_once_is_no_part_of_what_they_are(tmp_path):
    one = group(tmp_path / "log")[0]
    assert one.fingerprint == step(write_alone, "a").fingerprint


def test_steps_of_other_keys_run_by_themselves(store, tmp_path):
    made = group(tmp_path / "log", keys="kmk")
    run(store, *made)
    names = [made[0].name, made[2].name]
    assert facts(store, made) == [{"with": names}, {"alone": ""}, {"with": names}]


def test_steps_that_are_done_or_run_elsewhere_are_left_out(store, tmp_path):
    made = group(tmp_path / "log")
    run(store, made[0])
    assert facts(store, made[:1]) == [{"alone": ""}]
    run(store, *made)
    assert facts(store, made[1:]) == [{"with": [made[1].name, made[2].name]}] * 2


def test_a_step_that_another_process_holds_does_not_join(store, tmp_path):
    made = group(tmp_path / "log")
    release = threading.Timer(0.5, store.claim(made[1]).release)
    release.start()
    outcome, _ = run(store, *made)
    assert outcome.ok
    assert facts(store, made) == [
        {"with": [made[0].name, made[2].name]},
        {"alone": ""},
        {"with": [made[0].name, made[2].name]},
    ]


def test_steps_that_are_refused_run_by_themselves_and_know_why(store, tmp_path):
    made = group(tmp_path / "log", "refuse")
    outcome, _ = run(store, *made)
    assert outcome.ok
    assert facts(store, made) == [{"alone": "they are too few"}] * 3
    assert [store.find(one).record.attempts for one in made] == [1, 1, 1]


def test_a_failure_of_all_is_no_failure_of_any(store, tmp_path):
    made = group(tmp_path / "log", "fail")
    with pytest.warns(
        UserWarning, match="at once with others it failed: ValueError: out of memory; each is run by itself"
    ):
        outcome, _ = run(store, *made)
    assert outcome.ok
    assert {state.value for state in outcome.states.values()} == {"done"}
    assert facts(store, made) == [{"alone": "at once with others it failed: ValueError: out of memory"}] * 3
    assert starts(tmp_path / "log") == [*"abc", *"abc"]
    assert [store.find(one).record.attempts for one in made] == [2, 2, 2]


def test_a_step_whose_needs_failed_does_not_keep_the_others(store, tmp_path):
    (tmp_path / "broken").touch()
    bad = step(fail_while, "bad", circumstance={"while": str(tmp_path / "broken")})
    made = group(tmp_path / "log")
    held = step(write_alone, "held", [bad], circumstance=made[0].circumstance, together=made[0].together)
    outcome, _ = run(store, held, *made)
    assert outcome.states[held.fingerprint].value == "blocked"
    assert facts(store, made) == [{"with": [one.name for one in made]}] * 3


def test_steps_that_run_at_once_divide_what_they_take(store, tmp_path):
    made = group(tmp_path / "log", pause=0.6)
    run(store, *made)
    assert all(0.2 <= store.find(one).record.seconds < 0.6 for one in made)


def test_an_attempt_of_several_takes_its_share(tmp_path):
    alone, shared = Attempt(tmp_path), Attempt(tmp_path, at_once=4)
    time.sleep(0.2)
    whole, part = alone.record({}), shared.record({})
    assert part["seconds"] == pytest.approx(whole["seconds"] / 4, rel=0.2)
    alone.close()


def test_killed_at_once_they_go_on_by_themselves_in_the_same_run(store, tmp_path):
    made = group(tmp_path / "log")
    since = time.time()
    for one in made[:2]:
        begun(store, one)
    outcome, _ = run(store, *made, since=since)
    assert outcome.ok
    assert facts(store, made[:1]) == [{"alone": "a process was killed while it ran at once with others"}]
    assert facts(store, made[2:]) == [{"alone": ""}]


def test_killed_in_an_earlier_run_they_run_at_once_again(store, tmp_path):
    made = group(tmp_path / "log")
    for one in made:
        begun(store, one)
    run(store, *made, since=time.time() + 2)
    assert facts(store, made) == [{"with": [one.name for one in made]}] * 3


def test_a_process_that_dies_of_them_is_followed_by_one_that_runs_each_by_itself(tmp_path):
    script = Path(__file__).with_name("supervised_process.py")
    arguments = [tmp_path / "store", tmp_path / "log", "0", "SIGKILL", "at once"]
    ended = subprocess.run([sys.executable, script, *arguments], stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert starts(tmp_path / "log") == [*"abc", *"abc"]
    found = [artifact.record for artifact in Store(tmp_path / "store").artifacts()]
    assert [record.facts["alone"] for record in found] == ["a process was killed while it ran at once with others"] * 3
    assert "trying again in a fresh one" in ended.stderr
