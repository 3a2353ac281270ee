"""What is done again, and what is left out: owed work, ``--force`` and ``--skip``, on a study of a few seconds."""

import json
import os
import shutil
from pathlib import Path

import pytest

from preloaded import COMMAND

STUDY = Path(__file__).with_name("again_study.yaml")
OWING = """
import sys
from tunelab.cli import main
from tunelab.study.steps import generate

answered = generate.run
def without_two(context):
    answered(context)
    context.owe(2, "requests that got no answer")
generate.run = without_two
main()
"""
"""The command line where generation ends with two requests unanswered, as an endpoint may leave them."""


@pytest.fixture(scope="module")
def start(command_line):
    """Run the command line in ``folder``."""
    variables = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "140"}

    def started(folder, *arguments, program=COMMAND):
        return command_line.run(*map(str, arguments), cwd=folder, env=variables, program=program)

    return started


@pytest.fixture(scope="module")
def made(tmp_path_factory, start):
    """A folder in which the study has run once."""
    folder = tmp_path_factory.mktemp("made")
    result = start(folder, "run", STUDY)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of that folder."""
    shutil.copytree(made, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def ended(result):
    """Names of the steps that were run, without the hash, and the end event."""
    *events, end = (json.loads(line) for line in result.stdout.splitlines())
    done = [e["step"].rpartition("-")[0] for e in events if e["event"] == "ended" and e["state"] == "done"]
    return sorted(done), end


@pytest.fixture
def planned(start):
    """Status and reason of each planned step by name without the hash."""

    def found(folder, *arguments):
        result = start(folder, "plan", STUDY, "--json", *arguments)
        assert result.returncode == 0, result.stderr
        return {s["name"].rpartition("-")[0]: (s["status"], s["reason"]) for s in json.loads(result.stdout)["steps"]}

    return found


def test_a_run_that_ends_with_owed_work_says_so_and_the_next_one_asks_for_it(tmp_path, start, planned):
    first = start(tmp_path, "run", STUDY, "train={}", "evaluate=short", program=OWING)
    assert first.returncode == 1
    [line] = [line for line in first.stdout.splitlines() if line.startswith("Owed: ")]
    assert line.startswith("Owed: generate/base-short-")
    assert line.endswith(": 2 requests that got no answer are owed; run the same command again to ask for them")
    assert planned(tmp_path, "train={}", "evaluate=short")["generate/base-short"] == (
        "to_run", "2 requests that got no answer are owed"
    )  # fmt: skip
    assert start(tmp_path, "report", STUDY, "train={}", "evaluate=short").returncode == 0
    assert planned(tmp_path, "train={}", "evaluate=short")["generate/base-short"][0] == "to_run"
    done, end = ended(start(tmp_path, "run", STUDY, "train={}", "evaluate=short", "--json", program=OWING))
    assert (done, end["exit_code"]) == (["generate/base-short"], 1)
    assert list(end["owed"].values()) == [{"requests that got no answer": 2}]
    done, end = ended(start(tmp_path, "run", STUDY, "train={}", "evaluate=short", "--json"))
    assert (done, end["owed"], end["exit_code"]) == (["generate/base-short"], {}, 0)


def test_forced_steps_are_made_anew_and_what_did_not_change_is_not(folder, start):
    """A training on a CPU gives the same weights again, so nothing that was made of them is made again."""
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob(".tunelab/generate/*/outputs.jsonl")}
    result = start(folder, "run", STUDY, "--force", "train/few", "--json")
    done, end = ended(result)
    assert (done, end["forced"], end["exit_code"]) == (["train/few"], 1, 0)
    [moved] = folder.glob(".tunelab/replaced/train/few-*")
    assert (moved / "record.json").exists()
    assert (folder / "results" / "again" / "models" / "few" / "model.safetensors").is_file()
    assert kept == {path.name: path.stat().st_mtime_ns for path in folder.glob(".tunelab/generate/*/outputs.jsonl")}


def test_scores_of_other_outputs_are_planned_again_until_these_come_back(folder, start, planned):
    """The record of the outputs is edited; forcing them gives what the scores were made of."""
    [outputs] = folder.glob(".tunelab/generate/few-short-*")
    record = json.loads((outputs / "record.json").read_text())
    record["files"]["outputs.jsonl"]["sha256"] = "0" * 64
    (outputs / "record.json").write_text(json.dumps(record))
    assert planned(folder)["score/few-short"] == ("to_run", "outputs has changed since")
    done, _ = ended(start(folder, "run", STUDY, "--force", "generate/few-short", "--json"))
    assert done == ["generate/few-short"]


def test_globs_force_with_and_without_the_hash_and_the_plan_counts_them(folder, start, planned):
    result = start(folder, "plan", STUDY, "--force", "generate/few-*", "--force", "score/*-short-????????")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].strip() == "14 cached, 5 to run, 0 blocked, 5 of them forced"
    again = planned(folder, "--force", "generate/few-*", "--force", "score/*-short-????????")
    assert sorted(name for name, found in again.items() if found == ("to_run", "forced")) == [
        "generate/few-long", "generate/few-short", "score/base-short", "score/few-short", "score/more-short"
    ]  # fmt: skip
    assert not (folder / ".tunelab" / "replaced").exists()


def test_a_run_says_how_many_steps_were_forced(folder, start):
    result = start(folder, "run", STUDY, "--force", "score/base-*")
    assert "Forced: 2 steps; what they had made is in .tunelab/replaced" in result.stdout
    assert "2 done" in result.stdout


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_glob_that_forces_nothing_names_the_nearest_step(folder, verb, start):
    result = start(folder, verb, STUDY, "--force", "generate/few-shrot")
    assert result.returncode == 2
    assert result.stderr == (
        "tunelab: force: 'generate/few-shrot' matches no step of the study; did you mean 'generate/few-short'?\n"
    )
    assert not (folder / ".tunelab" / "replaced").exists()


def test_forcing_what_never_ran_is_no_mistake(tmp_path, start):
    result = start(tmp_path, "plan", STUDY, "--force", "train/*")
    assert result.returncode == 0
    assert "forced" not in result.stdout


def test_what_is_skipped_is_neither_planned_nor_deleted(folder, start, planned):
    before = sorted(path.parent.name for path in folder.glob(".tunelab/generate/*/record.json"))
    done, end = ended(start(folder, "run", STUDY, "--skip", "evaluate.long", "--skip", "train.mo*", "--json"))
    assert (done, end["exit_code"]) == (["compare/again", "report/again"], 0)
    assert "score/few-long" not in planned(folder, "--skip", "evaluate.lo*")
    assert before == sorted(path.parent.name for path in folder.glob(".tunelab/generate/*/record.json"))
    assert {found[0] for found in planned(folder).values()} == {"cached"}
