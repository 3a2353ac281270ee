"""Scoring a file of outputs: each row finds its own accepted answers, and draws of one item are counted once."""

import json
import os
from pathlib import Path

import pytest

from tunelab.errors import DataError
from tunelab.study.score_file import score_file

DATA = Path(os.environ.get("TUNELAB_DATA", "/nowhere"))
RECORDED = DATA / ".." / "parity" / "gsm8k" / "example_model_solutions.jsonl"
CORRECT = {"6b_finetuning": 286, "6b_verification": 515, "175b_finetuning": 458, "175b_verification": 742}


@pytest.fixture
def scored(tmp_path):
    def score(rows, task="arithmetic"):
        path = tmp_path / "outputs.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return score_file(task, path)

    return score


@pytest.mark.skipif(not RECORDED.exists(), reason="TUNELAB_DATA is unset: the recorded GSM8K solutions are not here")
@pytest.mark.parametrize(("model", "expected"), CORRECT.items())
def test_recorded_gsm8k_outputs_score_alike_by_index_and_by_their_own_target(scored, monkeypatch, model, expected):
    monkeypatch.setenv("TUNELAB_DATA", str(DATA))
    recorded = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    outputs = [{"output": row[model]["solution"]} for row in recorded]
    by_index = scored([row | {"index": n} for n, row in enumerate(outputs)], "gsm8k")
    by_target = scored([o | {"target": r["ground_truth"]} for o, r in zip(outputs, recorded, strict=True)], "gsm8k")
    assert by_index == by_target
    assert (by_index["n"], by_index["outcomes"]["correct"]) == (1319, expected)


def test_a_file_mixes_own_targets_with_rows_of_the_split(scored):
    result = scored(
        [
            {"output": "#### 4", "target": "4", "id": None, "index": None},
            {"output": "#### 4", "target": "4", "id": "test-0"},
            {"output": "x", "target": None, "id": "test-0"},
            {"output": "x", "index": 0},
            {"output": "x", "index": "1"},
            {"output": "x", "index": 2.0, "id": None},
        ]
    )
    assert (result["n"], result["outcomes"]["correct"], result["outcomes"]["no_answer"]) == (5, 2, 4)


def test_own_targets_are_items_of_their_own_and_an_id_joins_draws(scored):
    row = {"output": "#### 4", "target": "4"}
    assert scored([row, row])["n"] == 2
    assert scored([row | {"index": 0}, row | {"index": 0}])["n"] == 2
    assert scored([row | {"id": "a"}, row | {"id": "a", "target": ["4"]}])["n"] == 1
    assert scored([row | {"id": "row-2"}, row, row | {"id": "row 2"}, row | {"id": 2}])["n"] == 4


@pytest.mark.parametrize("task", ["arithmetic", "gsm8k"])
def test_an_empty_list_of_targets_is_never_matched(scored, task):
    result = scored([{"output": "#### 4", "target": []}, {"output": "no", "target": []}], task)
    assert (result["n"], result["outcomes"]["wrong"], result["outcomes"]["no_answer"]) == (2, 1, 1)


def test_the_empty_cells_of_a_csv_are_absent(tmp_path):
    path = tmp_path / "outputs.csv"
    path.write_text("index,target,output\n0,,x\n1.0,,x\n,4,#### 4\n")
    result = score_file("arithmetic", path)
    assert (result["n"], result["outcomes"]["correct"]) == (3, 1)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"output": None, "index": 0}, "got output None, expected a string"),
        ({"output": "x"}, "no id, index or target, expected one of them"),
        ({"output": "x", "id": "no-0"}, "got id 'no-0', expected one of the split's 1000 ids, like 'test-0'"),
        *(({"output": "x", "index": i}, f"got index {i!r}, expected 0 to 999") for i in (True, -1, 1000, 0.5, "one")),
        ({"output": "x", "target": 4}, "got target 4, expected a string or a list of strings"),
        (
            {"output": "x", "id": "a", "target": "5"},
            "got target '5', expected that of the earlier row with the same id 'a', ['4']",
        ),
    ],
)
def test_a_bad_row_is_one_line_with_file_and_row(scored, tmp_path, row, said):
    with pytest.raises(DataError) as caught:
        scored([{"output": "#### 4", "id": "a", "target": "4"}, row])
    assert str(caught.value) == f"{tmp_path / 'outputs.jsonl'}, row 2: {said}"


def test_what_scoring_refuses_names_file_and_row(scored, tmp_path, monkeypatch):
    def refuse(task, sample, row):
        raise DataError("no finite number")

    monkeypatch.setattr("tunelab.study.score_file.score_output", refuse)
    with pytest.raises(DataError) as caught:
        scored([{"output": "#### 4", "target": "4"}])
    assert str(caught.value) == f"{tmp_path / 'outputs.jsonl'}, row 1: no finite number"
