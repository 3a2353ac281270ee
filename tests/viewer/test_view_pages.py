"""What the viewer reads off a store that no browser is needed for."""

import json
import shutil

from viewer_steps import STUDY, plan, run

from tunelab.engine.lease import claim
from tunelab.viewer.curves import MOST, Curves, draw
from tunelab.viewer.detail import read_detail
from tunelab.viewer.files import StoreFiles
from tunelab.viewer.graph import lay_out
from tunelab.viewer.live import run_state, study_pieces
from tunelab.viewer.runs import PlannedStep, read_runs
from tunelab.viewer.states import look, seconds_left


def seen_by_kind(store):
    files = StoreFiles(store)
    runs, problems = read_runs(files)
    assert problems == []
    return {s.label: s for s in look(runs[STUDY], files, runs.values())}


def test_a_store_without_notes_shows_what_its_reports_were_made_of(finished, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(finished, store)
    shutil.rmtree(store / "runs")
    seen = seen_by_kind(store)
    assert {label: s.state.value for label, s in seen.items()} == dict.fromkeys(
        ("rows", "base-exact", "sft", "sft-exact", "small"), "done"
    )
    assert read_runs(StoreFiles(store))[0][STUDY].question == "Does it help?"


def test_a_second_run_is_cached_and_a_step_that_another_process_runs_is_running(tmp_path):
    store = tmp_path / "store"
    run(store)
    run(store)
    assert {s.state.value for s in seen_by_kind(store).values()} == {"cached"}
    folder = store / plan().inputs["sft"].inputs["trained"].name
    (folder / "record.json").unlink()
    lease = claim(folder / "lease.json")
    assert seen_by_kind(store)["sft"].state.value == "running"
    lease.release()
    assert seen_by_kind(store)["sft"].state.value == "not run"


def test_a_step_that_another_study_ran_under_another_name_is_cached(tmp_path):
    store = tmp_path / "store"
    run(store, study="first", named="a")
    run(store, named="with-space")
    seen, files = seen_by_kind(store), StoreFiles(store)
    assert {label: s.state.value for label, s in seen.items() if label != "small"} == dict.fromkeys(
        ("rows", "base-exact", "with-space", "sft-exact"), "cached"
    )
    assert run_state(read_runs(files)[0][STUDY], list(seen.values())) == "finished"
    assert set(read_detail(files, seen["with-space"].name).studies) == {"first", STUDY}
    [folder] = (store / "train").iterdir()
    assert set(read_detail(files, f"train/{folder.name}").studies) == {"first", STUDY}
    lease = claim(folder / "lease.json")
    (folder / "record.json").unlink()
    assert seen_by_kind(store)["with-space"].state.value == "running"
    lease.release()


def test_how_a_run_was_cut_short_is_said_once(finished, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(finished, store)
    [note] = (store / "runs").glob("*/run.json")
    for end, told in (("interrupted", "somebody stopped it"), ("crashed", "an error ended it")):
        note.write_text(json.dumps({**json.loads(note.read_text()), "end": end}))
        run_of = read_runs(StoreFiles(store))[0][STUDY]
        said = study_pieces(run_of, list(seen_by_kind(store).values()), StoreFiles(store), Curves())["run"]["text"]
        assert said.startswith(f"! interrupted: {told}; begun")


def test_a_note_that_cannot_be_read_is_named_and_hides_nothing(finished, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(finished, store)
    for name, text in {"torn": "{", "empty": "{}", "list": "[]"}.items():
        (store / "runs" / name).mkdir()
        (store / "runs" / name / "run.json").write_text(text)
    runs, problems = read_runs(StoreFiles(store))
    assert list(runs) == [STUDY]
    assert sorted(problem.partition("/")[0] for problem in problems) == ["empty", "list", "torn"]


def test_a_damaged_record_is_a_state_and_not_the_end_of_the_page(finished, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(finished, store)
    [record] = store.glob("train/*/record.json")
    record.write_text("{")
    for _ in ("noted", "from before there were notes"):
        seen = seen_by_kind(store)
        assert seen["sft"].state.value == "failed"
        assert "the file is corrupt" in seen["sft"].message
        assert seen["base-exact"].state.value == "done"
        shutil.rmtree(store / "runs", ignore_errors=True)


def test_the_time_left_follows_from_the_speed_since_the_first_sign(monkeypatch):
    monkeypatch.setattr("time.time", lambda: 130.0)
    progress = {"started": 0.0, "first": [100.0, 10], "done": 30, "total": 70, "time": 120.0}
    assert seconds_left(progress) == 40 * 20 / 20 - 10
    assert seconds_left({"started": 0.0}) is None
    assert seconds_left(progress | {"done": 10}) is None


def test_metrics_are_read_on_and_anew_when_replaced(tmp_path):
    path, curves = tmp_path / "metrics.jsonl", Curves()
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert curves.of(path) == {"loss": [(1, 2.0)]}
    with path.open("a") as file:
        file.write('ss": 1.0, "reward": null}\n{"step": 3, "loss": null, "reward": 0.5}\n')
    assert curves.of(path) == {"loss": [(1, 2.0), (2, 1.0)], "reward": [(3, 0.5)]}
    other = tmp_path / "other"
    other.write_text(json.dumps({"step": 1, "loss": 5.0}) + "\n")
    other.replace(path)
    assert curves.of(path) == {"loss": [(1, 5.0)]}
    assert curves.of(tmp_path / "nothing") == {}


def test_a_curve_stays_in_its_box_and_long_ones_are_thinned():
    drawn = draw([(step, (step % 7) - 3.0) for step in range(10_000)])
    corners = [tuple(map(float, corner.split(","))) for corner in drawn.points.split()]
    assert MOST // 2 < len(corners) <= MOST
    assert all(0 <= x <= 320 and 0 <= y <= 88 for x, y in corners)
    assert [x for x, _ in corners] == sorted(x for x, _ in corners)
    assert (drawn.steps, draw([(1, 0.25)]).last) == ("step 9999", "0.25")
    falling = [float(c.split(",")[1]) for c in draw([(1, 2.0), (2, 1.0)]).points.split()]
    assert falling[0] < falling[1]


def test_the_plan_is_laid_out_by_depth_without_lines_that_say_nothing_new():
    needs = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c", "a"), "e": ("d", "a")}
    graph = lay_out(tuple(PlannedStep(name, "work", before) for name, before in needs.items()))
    assert {(line.source, line.target) for line in graph.lines} == {
        ("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", "e"),
    }  # fmt: skip
    places = {box.name: box for box in graph.boxes}
    assert places["a"].x < places["b"].x == places["c"].x < places["d"].x < places["e"].x
    assert places["b"].y != places["c"].y
    assert lay_out(()).boxes == ()
