"""The runner: each step once, failures blocked in, everything resumable."""

import json

import pytest
from engine_steps import (
    OUT,
    chain,
    fail_because,
    fail_while,
    fail_without_trace,
    interrupt_while,
    record_nan,
    run,
    starts,
    step,
    write,
)

from tunelab.engine.plan import settled
from tunelab.engine.runner import Runner, State, artifact_of
from tunelab.engine.store import Store
from tunelab.files import read_lines


@pytest.fixture
def broken(tmp_path):
    """A file whose presence makes steps fail."""
    path = tmp_path / "broken"
    path.touch()
    return path


def test_each_step_runs_once_and_a_second_run_runs_nothing(store, tmp_path):
    circumstance = {"log": str(tmp_path / "log")}
    rows = step(write, "rows", circumstance=circumstance)
    ends = [step(write, name, [rows], circumstance=circumstance) for name in "ab"]
    outcome, events = run(store, *ends)
    assert outcome.ok
    assert store.open(ends[1]).path(OUT).read_text() == "b(rows())"
    outcome, events = run(Store(store.root), *ends)
    assert (outcome.ok, events.started_names) == (True, [])
    assert events.ended_states == {"rows": "cached", "a": "cached", "b": "cached"}
    assert starts(tmp_path / "log") == ["rows", "a", "b"]


def test_a_failed_step_blocks_what_depends_on_it_and_nothing_else(store, broken):
    bad = step(fail_while, "bad", circumstance={"while": str(broken)})
    below = step(write, "below", [bad])
    free = step(write, "free")
    outcome, events = run(store, step(write, "end", [free, below]), step(write, "ordered", after=(bad,)), free)
    assert not outcome.ok
    assert events.ended_states == {
        "bad": "failed", "below": "blocked", "end": "blocked", "ordered": "blocked", "free": "done"
    }  # fmt: skip
    assert outcome.messages[bad.fingerprint] == "ValueError: loss is not finite"
    assert outcome.messages[below.fingerprint] == f"needs {bad.name}"
    assert artifact_of(store, outcome, bad) is None


def test_a_failure_is_kept_with_its_traceback_until_a_rerun_succeeds(store, broken):
    bad = step(fail_while, "bad", circumstance={"while": str(broken)})
    run(store, bad)
    failed = store.directory(bad) / "failed.json"
    kept = json.loads(failed.read_text())
    assert kept["error"] == "ValueError: loss is not finite"
    assert "in fail_while\n" in kept["traceback"]
    broken.unlink()
    outcome, _ = run(store, bad)
    assert outcome.ok
    assert not failed.exists()
    assert store.find(bad).record.attempts == 2


def test_a_failure_that_cannot_be_kept_is_still_reported_as_what_it_was(store):
    bad = step(fail_without_trace, "bad")
    outcome, _ = run(store, bad)
    assert outcome.messages == {bad.fingerprint: "ValueError: loss is not finite"}


def test_one_runner_can_try_again(store, broken):
    bad = step(fail_while, "bad", circumstance={"while": str(broken)})
    _, events = run(store)
    runner = Runner(store, events)
    assert not runner.run([bad]).ok
    broken.unlink()
    assert runner.run([bad]).ok


def test_a_step_whose_function_does_not_exist_is_a_failure_like_any_other(store):
    lost = step(write, "lost")
    object.__setattr__(lost, "entry", "engine_steps:no_such_function")
    outcome, events = run(store, lost, step(write, "free"))
    assert events.ended_states == {"lost": "failed", "free": "done"}
    assert outcome.messages[lost.fingerprint].startswith("AttributeError: ")


def test_a_tolerant_step_runs_with_holes_and_is_then_another_step(store, broken):
    bad, good = step(fail_while, "bad", circumstance={"while": str(broken)}), step(write, "good")
    end = step(write, "end", [bad, good], tolerant=True)
    outcome, _ = run(store, end)
    holed = artifact_of(store, outcome, end)
    assert not outcome.ok
    assert holed.path(OUT).read_text() == "end(good() <bad>)"
    assert holed.record.inputs == {"good": good.fingerprint, "bad": "missing: ValueError: loss is not finite"}
    broken.unlink()
    outcome, _ = run(store, end)
    assert artifact_of(store, outcome, end).path(OUT).read_text() == "end(bad() good())"
    assert len({holed.record.fingerprint, end.fingerprint, step(write, "end", [good]).fingerprint}) == 3
    assert holed.path(OUT).exists()


def test_another_reason_makes_another_step_and_the_same_one_is_found_again(store, tmp_path):
    def end(reason):
        bad = step(fail_because, "bad", circumstance={"because": reason})
        return step(write, "end", [bad, step(write, "good")], tolerant=True)

    ends = [run(store, end(reason))[0] for reason in ("first", "first", "second")]
    found = [artifact_of(store, outcome, end("")).record for outcome in ends]
    assert [record.inputs["bad"] for record in found] == [
        f"missing: ValueError: {r}" for r in ("first", "first", "second")
    ]
    assert found[0] == found[1]
    held, reasons = settled(end("").inputs.values(), store)
    assert end("").over(held, reasons).fingerprint == found[2].fingerprint


def test_what_follows_a_step_with_holes_knows_of_them(store, broken):
    bad = step(fail_while, "bad", circumstance={"while": str(broken)})
    end = step(write, "end", [bad, step(write, "good")], tolerant=True)
    last = step(write, "last", [end])
    outcome, _ = run(store, last)
    found = artifact_of(store, outcome, last)
    assert found.path(OUT).read_text() == "last(end(good() <bad>))"
    assert found.record.inputs["end"] == outcome.effective[end.fingerprint].fingerprint != end.fingerprint


def test_a_tolerant_step_without_any_input_is_blocked(store, broken):
    bad = step(fail_while, "bad", circumstance={"while": str(broken)})
    _, events = run(store, step(write, "end", [bad], tolerant=True))
    assert events.ended_states == {"bad": "failed", "end": "blocked"}


def test_after_orders_steps_without_entering_identity(store):
    check = step(write, "check")
    train = step(write, "train", after=(check,))
    assert train.fingerprint == step(write, "train").fingerprint
    assert train.fingerprint != step(write, "train", [check]).fingerprint
    _, events = run(store, train)
    assert events.started_names == ["check", "train"]


def test_circumstance_is_recorded_and_never_compared(store):
    here, there = (step(write, "one", circumstance={"device": device}) for device in ("cpu", "cuda"))
    run(store, here)
    outcome, _ = run(store, there)
    assert outcome.states == {there.fingerprint: State.CACHED}
    assert store.find(there).record.circumstance == {"device": "cpu"}


def test_an_interrupt_lets_the_step_go_and_a_rerun_resumes(store, broken):
    one = step(interrupt_while, "one", circumstance={"while": str(broken)})
    with pytest.raises(KeyboardInterrupt):
        run(store, one)
    assert not store.is_running(one)
    assert not (store.directory(one) / "lease.json").exists()
    assert not (store.directory(one) / "failed.json").exists()
    broken.unlink()
    outcome, _ = run(store, one)
    assert outcome.ok
    assert "half.txt" in store.find(one).record.files


def test_scratch_stays_while_a_step_is_owed_and_goes_when_it_is_complete(store, broken):
    bad = step(fail_while, "bad", circumstance={"while": str(broken)})
    run(store, bad)
    assert (store.directory(bad) / "scratch" / "checkpoint").read_text() == "half way"
    broken.unlink()
    run(store, bad)
    assert not (store.directory(bad) / "scratch").exists()


def test_scratch_is_not_removed_before_the_record_exists(store):
    one = step(record_nan, "one")
    outcome, _ = run(store, one)
    assert "not JSON compliant" in outcome.messages[one.fingerprint]
    assert (store.directory(one) / "scratch" / "checkpoint").exists()


def test_time_adds_up_over_attempts_and_a_torn_line_does_no_harm(store):
    (one,) = chain(1, pause=0.01)
    run(store, one)
    directory = store.directory(one)
    (directory / "record.json").unlink()
    with (directory / "attempts.jsonl").open("a") as file:
        file.write('{"event": "sta')
    first = json.loads((directory / "attempts.jsonl").read_text().splitlines()[1])["seconds"]
    run(store, one)
    record = store.find(one).record
    assert [line["event"] for line in read_lines(directory / "attempts.jsonl")] == ["started", "ended"] * 2
    assert record.attempts == 2
    assert record.seconds >= first > 0.05


def test_attempts_that_cannot_be_read_are_a_failure_like_any_other(store):
    one = step(write, "one")
    store.directory(one).mkdir(parents=True)
    (store.directory(one) / "attempts.jsonl").write_text("nonsense\n")
    outcome, events = run(store, one, step(write, "free"))
    assert events.ended_states == {"one": "failed", "free": "done"}
    assert outcome.messages[one.fingerprint].endswith("attempts.jsonl, line 1: not JSON")


def test_a_store_that_cannot_be_written_is_one_line_a_step(tmp_path):
    (tmp_path / "file").touch()
    one = step(write, "one")
    outcome, _ = run(Store(tmp_path / "file"), one)
    assert outcome.messages[one.fingerprint].startswith("FileExistsError: ")


def test_progress_reaches_the_reporter(store):
    _, events = run(store, *chain(1, pause=0))
    assert events.moved == [("s0", done, 6, "rows") for done in range(1, 7)]
