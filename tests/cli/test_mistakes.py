"""Mistakes outside a study file: a format, a place, a store that somebody edited, a closed output."""

import os
import subprocess
import sys

import pytest


def only_line(result, code):
    """The one line that a refused command prints."""
    assert result.returncode == code
    [line] = result.stderr.splitlines()
    return line


def test_a_format_that_is_not_yaml_is_refused_in_one_line(tunelab):
    assert "--format: got '{', expected chat, raw, or YAML" in only_line(
        tunelab("data", "show", "arithmetic", "--format", "{"), 2
    )


def test_a_task_file_with_a_syntax_error_is_refused_in_one_line(tunelab, tmp_path):
    (tmp_path / "mine.py").write_text("class Echo(:\n")
    line = only_line(tunelab("data", "show", "mine.py:Echo"), 2)
    assert "mine.py cannot be imported: SyntaxError" in line


def test_a_place_that_cannot_be_used_is_one_line(tunelab):
    name = "x" * 300 + ".jsonl"
    assert only_line(tunelab("score", "arithmetic", name), 1) == f"tunelab: {name}: File name too long"


@pytest.mark.parametrize("place", ["taken", "taken/below"])
@pytest.mark.parametrize(
    "command",
    [
        ("run", "quickstart", "--store"),
        ("run", "quickstart", "--results"),
        ("plan", "quickstart", "--store"),
        ("show", "--results"),
        ("doctor", "--store"),
    ],
)
def test_a_file_where_a_folder_is_expected_is_refused_before_anything_runs(tunelab, tmp_path, command, place):
    (tmp_path / "taken").write_text("my own")
    line = only_line(tunelab(*command, place), 2)
    assert line.startswith(f"tunelab: {place}: ")
    assert line.endswith("taken is a file, expected a folder; choose another place")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"fingerprint": 1}'])
def test_a_step_without_an_identity_is_named_by_explain(tunelab, tmp_path, content):
    step = tmp_path / "store" / "train" / "odd-1"
    step.mkdir(parents=True)
    (step / "step.json").write_text(content)
    line = only_line(tunelab("explain", "train/odd", "--store", "store"), 1)
    assert "step.json" in line


def test_a_closed_output_is_no_crash(tmp_path):
    command = f"exec {sys.executable} -c 'from tunelab.cli import main; main()' data show arithmetic >&-"
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stderr=-1,
        text=True,
        check=False,
    )
    assert "Traceback" not in result.stderr
