"""What trackers hold at the end of a study is what its comparison says, read back with the trackers' own means."""

import json
import sqlite3
from contextlib import closing

import pytest
import wandb
from study_files import changed, only
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tunelab.files import write_json
from tunelab.study.track import COLUMNS, track_results

BASE = {"cell": "base/chat", "variant": "base", "evaluation": "chat", "task": "arithmetic", "headline": "numeric"}
TUNED = BASE | {"cell": "sft#1/chat", "variant": "sft#1"}
HOLE = BASE | {"cell": "lost/chat", "variant": "lost"}


def estimate(value, low, high):
    return {"numeric": {"value": value, "low": low, "high": high, "n": 39, "method": "wilson"}}


COMPARISON = {
    "cells": [
        {**BASE, "n": 40, "metrics": estimate(0.25, 0.125, 0.5)},
        {**TUNED, "n": 40, "metrics": estimate(0.75, 0.5, 0.875)},
    ],
    "comparisons": [{"cell": "sft#1/chat", "difference": 0.5, "low": 0.375, "high": 0.625, "verdict": "better"}],
    "thresholds": [],
    "missing": [{**HOLE, "error": "no result: out of memory"}],
}
ROWS = [
    {"variant": "base", "value": 0.25, "low": 0.125, "high": 0.5, "n": 40, "scored": 39},
    {
        **{"variant": "sft#1", "value": 0.75, "low": 0.5, "high": 0.875, "n": 40, "scored": 39},
        **{"difference": 0.5, "difference_low": 0.375, "difference_high": 0.625, "difference_verdict": "better"},
    },
    {"variant": "lost", "error": "no result: out of memory"},
]
EVERYWHERE = {"evaluation": "chat", "task": "arithmetic", "metric": "numeric"}
TABLE = [[(EVERYWHERE | row).get(name) for name in COLUMNS] for row in ROWS]
SCALARS = {
    f"{row['variant']}/chat/{name}": value
    for row in ROWS
    for name, value in row.items()
    if isinstance(value, int | float)
}


@pytest.fixture
def ended(tmp_path, monkeypatch):
    """Results of a study that declares some trackers, in a folder where those keep everything local."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_PROJECT": "ours"}.items():
        monkeypatch.setenv(name, value)

    def make(*trackers, comparison=COMPARISON):
        folder = tmp_path / "results" / "templates"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "comparison.json", comparison)
        return only(tmp_path, changed(hardware={"track": list(trackers)})), folder

    yield make
    wandb.teardown()


def read_tensorboard(folder):
    text, scalars = {}, {}
    events = EventAccumulator(str(folder))
    events.Reload()
    for event in events.Tensors("results/text_summary"):
        text[event.step] = event.tensor_proto.string_val[0].decode()
    for name in events.Tags()["scalars"]:
        scalars[name] = [event.value for event in events.Scalars(name)]
    return text, scalars


def test_tensorboard_has_the_table_and_its_numbers_under_the_studys_name(ended):
    study, folder = ended("tensorboard")
    assert track_results(study, folder) == []
    text, scalars = read_tensorboard(folder / "tensorboard" / "templates")
    lines = [[field.strip() for field in line.strip("|").split("|")] for line in text[0].splitlines()]
    assert lines[0] == list(COLUMNS)
    assert lines[2:] == [["" if value is None else str(value) for value in row] for row in TABLE]
    assert scalars == {name: [value] for name, value in SCALARS.items()}


def test_wandb_has_one_offline_run_with_the_table(ended, tmp_path):
    study, folder = ended("wandb")
    assert track_results(study, folder) == []
    [run] = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    assert b"templates" in run.read_bytes()
    [media] = (tmp_path / "wandb").glob("offline-run-*/files/media/table/results_*.table.json")
    assert json.loads(media.read_text()) == {"columns": list(COLUMNS), "data": TABLE}


def test_wandb_gets_another_table_in_the_run_that_has_the_first(ended, tmp_path):
    track_results(*ended("wandb"))
    track_results(*ended("wandb", comparison=COMPARISON | {"missing": []}))
    names = [path.name for path in (tmp_path / "wandb").glob("offline-run-*/*.wandb")]
    assert len(names) == 2
    assert len(set(names)) == 1


def test_a_table_is_sent_once_and_another_one_as_the_next_step(ended):
    study, folder = ended("tensorboard")
    track_results(study, folder)
    track_results(study, folder)
    assert list(read_tensorboard(folder / "tensorboard" / "templates")[0]) == [0]
    track_results(*ended("tensorboard", comparison=COMPARISON | {"missing": []}))
    text, scalars = read_tensorboard(folder / "tensorboard" / "templates")
    assert ("lost" in text[0], "lost" in text[1]) == (True, False)
    assert scalars["sft#1/chat/value"] == [0.75, 0.75]


def test_trackio_has_a_run_of_the_studys_name(ended, tmp_path, monkeypatch):
    from trackio import sqlite_storage, utils

    for module in (utils, sqlite_storage):  # it reads TRACKIO_DIR once a process
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "trackio")
    study, folder = ended("trackio")
    assert track_results(study, folder) == []
    with closing(sqlite3.connect(tmp_path / "trackio" / "huggingface.db")) as database:
        [(run, metrics)] = database.execute("SELECT run_name, metrics FROM metrics").fetchall()
    found = json.loads(metrics)
    assert run == "templates"
    assert [row["variant"] for row in found["results"]["_value"]] == ["base", "sft#1", "lost"]
    assert {name: found[name] for name in SCALARS} == SCALARS


def test_a_tracker_that_fails_is_told_and_tried_again(ended, tmp_path):
    study, folder = ended("tensorboard")
    blocked = folder / "tensorboard"
    blocked.write_text("in the way")
    [line] = track_results(study, folder)
    assert line.startswith("hardware.track: tensorboard did not take the table: ")
    blocked.unlink()
    assert track_results(study, folder) == []
    assert read_tensorboard(folder / "tensorboard" / "templates")[0]


def test_a_study_without_trackers_leaves_nothing(ended):
    study, folder = ended()
    assert track_results(study, folder) == []
    assert [path.name for path in folder.iterdir()] == ["comparison.json"]
