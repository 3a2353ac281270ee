"""Owed work: a finished step that asks again for what it did not get, once a run, in its own folder."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from engine_steps import OUT, ask, count_answers, run, starts, step, write

from tunelab.engine.context import StepContext
from tunelab.engine.plan import plan
from tunelab.engine.runner import Runner, State
from tunelab.engine.store import Store
from tunelab.files import read_lines

SCRIPT = Path(__file__).with_name("engine_process.py")


@pytest.fixture
def silent(tmp_path):
    """The questions that get no answer now."""
    path = tmp_path / "silent"
    path.write_text("2 4 5")
    return path


@pytest.fixture
def asking(silent, tmp_path):
    """A step that asks six questions."""
    return step(ask, "asking", circumstance={"silent": str(silent), "log": str(tmp_path / "log")})


def answers(store, asking):
    """How many answers had been there when each question's was written."""
    return {row["question"]: row["attempt"] for row in read_lines(store.directory(asking) / "answers.jsonl")}


def test_a_step_that_owes_is_finished_for_all_that_need_it_and_is_planned_again(store, asking):
    outcome, events = run(store, step(write, "end", after=(asking,)))
    assert outcome.ok
    assert events.ended_states == {"asking": "done", "end": "done"}
    assert outcome.owed == {asking.fingerprint: {"questions that got no answer": 3}}
    assert store.open(asking).record.owed == {"questions that got no answer": 3}
    [planned] = plan([asking], Store(store.root)).steps
    assert (planned.status.value, planned.reason) == ("to_run", "3 questions that got no answer are owed")


def test_the_next_run_asks_only_for_what_is_missing(store, asking, silent, tmp_path):
    run(store, asking)
    silent.write_text("4")
    outcome, events = run(Store(store.root), asking)
    assert events.ended_states == {"asking": "done"}
    assert outcome.owed == {asking.fingerprint: {"questions that got no answer": 1}}
    silent.write_text("")
    outcome, _ = run(Store(store.root), asking)
    assert answers(store, asking) == {"0": 0, "1": 0, "3": 0, "2": 3, "5": 3, "4": 5}
    assert outcome.owed == store.find(asking).record.owed == {}
    assert store.find(asking).record.attempts == 3
    run(Store(store.root), asking)
    assert starts(tmp_path / "log") == ["asking"] * 3
    assert store.open(asking).path("answers.jsonl")


def test_nothing_new_is_recorded_again_and_does_not_loop(store, asking, tmp_path):
    run(store, asking)
    first = store.find(asking).record
    outcome, _ = run(Store(store.root), asking)
    again = store.find(asking).record
    assert starts(tmp_path / "log") == ["asking"] * 2
    assert (again.owed, again.files, again.attempts) == (first.owed, first.files, 2)
    assert outcome.states == {asking.fingerprint: State.DONE}


def test_what_was_made_of_answers_that_came_is_made_again_and_only_that(store, asking, silent):
    below, beside = step(count_answers, "below", [asking]), step(write, "beside")
    run(store, below, beside)
    silent.write_text("2 4 5")
    _, events = run(Store(store.root), below, beside)
    assert events.ended_states == {"asking": "done", "below": "cached", "beside": "cached"}
    silent.write_text("")
    _, events = run(Store(store.root), below, beside)
    assert events.ended_states == {"asking": "done", "below": "done", "beside": "cached"}
    assert store.open(below).path(OUT).read_text() == "6"


def test_readers_take_a_step_that_owes_as_it_is(store, asking, tmp_path):
    _, events = run(store, asking)
    outcome = Runner(store, events).run([asking], taken={asking.fingerprint})
    assert outcome.states == {asking.fingerprint: State.CACHED}
    assert starts(tmp_path / "log") == ["asking"]


def test_what_cannot_run_here_is_used_with_what_it_owes(store, asking, silent):
    run(store, asking)
    here = step(ask, "asking", circumstance=asking.circumstance, blocked="no endpoint on this machine")
    assert plan([here], store).counts()["cached"] == 1
    outcome, _ = run(store, here)
    assert (outcome.ok, list(outcome.owed)) == (True, [asking.fingerprint])


def test_a_retry_that_is_killed_goes_on_from_its_files(store, asking, silent, tmp_path):
    run(store, asking)
    command = [sys.executable, SCRIPT, store.root, "asking", tmp_path / "log", "60", silent]
    killed = subprocess.Popen(command)
    while len(starts(tmp_path / "log")) < 2:
        assert killed.poll() is None
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    assert Store(store.root).find(asking) is None
    silent.write_text("")
    outcome, _ = run(Store(store.root), asking)
    assert (outcome.ok, outcome.owed) == (True, {})
    assert answers(store, asking) == {"0": 0, "1": 0, "3": 0, "2": 3, "4": 3, "5": 3}


def test_two_processes_on_one_store_try_what_is_owed_once(store, asking, silent, tmp_path):
    run(store, asking)
    command = [sys.executable, SCRIPT, store.root, "asking", tmp_path / "log", "2", silent]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert starts(tmp_path / "log") == ["asking"] * 2


def test_a_record_that_knows_of_no_owed_work_still_loads(store, asking):
    run(store, asking)
    path = store.directory(asking) / "record.json"
    older = json.loads(path.read_text())
    for name in ("owed", "contents"):
        del older[name]
    path.write_text(json.dumps(older))
    assert Store(store.root).find(asking).record.owed == {}
    assert run(Store(store.root), asking)[1].ended_states == {"asking": "cached"}


def test_owing_less_than_nothing_is_refused(tmp_path):
    context = StepContext({}, {}, {}, {}, tmp_path, print)
    context.owe(3, "answers")
    context.owe(0, "answers")
    assert context.owed == {}
    with pytest.raises(ValueError, match=r"^owe: got -1 answers, expected 0 or more$"):
        context.owe(-1, "answers")
