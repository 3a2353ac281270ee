"""What a run leaves for those who watch it: it says what is, it is never part of a result, and it stops nothing."""

import json
import os
import subprocess
import sys

import pytest
from engine_steps import fail_while, report_progress, step, write

from tunelab.engine.journal import PROGRESS_SECONDS, RUNS, Subject, is_alive, journal
from tunelab.engine.lease import looks_held
from tunelab.engine.runner import Runner
from tunelab.engine.store import Store


class Silent:
    def started(self, step):
        pass

    def progressed(self, step, done, total, unit):
        pass

    def ended(self, step, state, message):
        pass


SILENT = Silent()


class Watching:
    """A reporter that keeps what the notes said at each moment."""

    def __init__(self, store):
        self.store = store
        self.seen = []

    def note(self, name):
        [folder] = (self.store.root / RUNS).iterdir()
        return json.loads((folder / name).read_text()) if (folder / name).exists() else None

    def started(self, step):
        self.seen.append(("started", step.slug, self.note("run.json"), self.note("progress.json")))

    def progressed(self, step, done, total, unit):
        self.seen.append(("progressed", step.slug, None, self.note("progress.json")))

    def ended(self, step, state, message):
        self.seen.append(("ended", step.slug, self.note("run.json"), None))


def run(store, target, study="a study"):
    watching = Watching(store)
    with journal(store.root, Subject(study, "Why?", store.root / "results"), [target], watching) as kept:
        outcome = Runner(store, kept).run([target])
    return outcome, watching, kept


def test_the_plan_is_there_before_the_first_step_and_states_follow(store):
    first = step(write, "first")
    last = step(write, "last", [first])
    _, watching, _ = run(store, last)
    begun = watching.seen[0][2]
    assert (begun["study"], begun["question"], begun["ended"], begun["states"]) == ("a study", "Why?", None, {})
    assert begun["steps"] == [
        {"name": first.name, "kind": "work", "needs": []},
        {"name": last.name, "kind": "work", "needs": [first.name]},
    ]
    assert watching.seen[0][3]["as"] == first.name
    assert watching.seen[2][2]["states"] == {first.name: {"state": "done", "message": "", "as": first.name}}
    ended = watching.note("run.json")
    assert ended["end"] == "over"
    assert [s["state"] for s in ended["states"].values()] == ["done", "done"]
    assert watching.note("progress.json") is None


def test_what_holes_have_renamed_is_still_the_planned_step(store, tmp_path):
    bad = tmp_path / "bad"
    bad.touch()
    failing = step(fail_while, "failing", circumstance={"while": str(bad)})
    after = step(write, "after", [failing])
    end = step(write, "end", [step(write, "fine"), after], tolerant=True)
    _, watching, _ = run(store, end)
    states = watching.note("run.json")["states"]
    assert states[failing.name]["message"] == "ValueError: loss is not finite"
    assert states[after.name]["message"] == f"needs {failing.name}"
    assert states[end.name]["state"] == "done"
    assert states[end.name]["as"] != end.name
    assert (store.root / states[end.name]["as"] / "record.json").exists()


def test_progress_is_noted_at_most_once_a_second_and_is_in_no_result(store):
    target = step(report_progress, "moving", circumstance={"times": 200})
    outcome, watching, _ = run(store, target)
    noted = {json.dumps(note) for kind, _, _, note in watching.seen if kind == "progressed"}
    assert PROGRESS_SECONDS == 1.0
    assert len(noted) <= 2
    assert {json.loads(note)["total"] for note in noted} == {200}
    artifact = store.open(outcome.effective[target.fingerprint])
    assert set(artifact.record.files) == {"out.txt"}
    assert {p.name for p in artifact.directory.iterdir()} == {"out.txt", "record.json", "step.json", "attempts.jsonl"}


def test_a_journal_that_cannot_be_written_stops_nothing_and_says_so(store):
    store.root.mkdir()
    (store.root / RUNS).write_text("in the way")
    with journal(store.root, Subject("s", "", store.root), [target := step(write, "one")], SILENT) as kept:
        outcome = Runner(store, kept).run([target])
    assert outcome.ok
    assert str(store.root / RUNS) in kept.trouble


def test_an_interrupt_and_a_bug_are_told_apart_and_go_on_up(store):
    for error, end in ((KeyboardInterrupt, "interrupted"), (RuntimeError, "crashed")):
        with pytest.raises(error), journal(store.root, Subject("s", "", store.root), [step(write, "x")], SILENT):
            raise error
        [folder] = (store.root / RUNS).iterdir()
        assert json.loads((folder / "run.json").read_text())["end"] == end


def test_a_run_takes_the_place_of_its_study_s_runs_that_are_over_and_of_no_other(store):
    for study in ("one", "one", "two", "one-more"):
        with journal(store.root, Subject(study, "", store.root), [step(write, "x")], SILENT):
            pass
    notes = [json.loads(p.read_text())["study"] for p in store.root.glob(f"{RUNS}/*/run.json")]
    assert sorted(notes) == ["one", "one-more", "two"]


def test_a_process_that_is_gone_is_not_alive(store):
    code = (
        "import sys, os; from pathlib import Path; from tunelab.engine.journal import Journal, Subject\n"
        "Journal(Path(sys.argv[1]), Subject('s', '', Path('.')), [], None).begin(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(store.root)], check=False)
    [folder] = (store.root / RUNS).iterdir()
    note = json.loads((folder / "run.json").read_text())
    assert note["ended"] is None
    assert not is_alive(note, folder)
    elsewhere = note | {"owner": note["owner"] | {"place": "another machine"}}
    assert is_alive(elsewhere, folder)
    os.utime(folder / "run.json", (0, 0))
    assert not is_alive(elsewhere, folder)


def test_looking_at_a_lease_writes_nothing(store):
    target = step(write, "held")
    lease = Store(store.root).claim(target)
    path = store.directory(target) / "lease.json"
    before = sorted(path.parent.iterdir()), path.parent.stat().st_mtime_ns
    assert looks_held(path)
    assert before == (sorted(path.parent.iterdir()), path.parent.stat().st_mtime_ns)
    lease.release()
    assert not looks_held(path)
