"""Scoring a file of outputs: each row finds its own accepted answers, and draws of one item are counted once."""

import json
import os
from pathlib import Path

import pytest

from tunelab.data.sources import BuiltinSource
from tunelab.errors import DataError
from tunelab.stats import mean_t
from tunelab.study.score_file import score_file
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import load_samples

DATA = Path(os.environ.get("TUNELAB_DATA", "/nowhere"))
PARITY = DATA.parent / "parity"
RECORDED = PARITY / "gsm8k" / "example_model_solutions.jsonl"
TEXTS = ["cnn_dailymail", "code_refinement", "code_text_to_code", "code_to_code_trans", "code_to_text", "hotpotqa"]
SQUAD = {
    "exact": 78.97334649555775,
    "f1": 81.82635533198284,
    "exact_verbatim": 78.97334649555775,
    "f1_verbatim": 81.82635533198284,
    "HasAns_exact": 75.39518900343643,
    "HasAns_f1": 81.35415385147485,
    "NoAns_exact": 82.26010101010101,
    "NoAns_f1": 82.26010101010101,
}
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


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Rows that a task ships, as its mirror: a task's samples as they are on the hub, without the hub."""

    def mirrored(name):
        task = find_task(name)
        folder = tmp_path / "mirror" / task.dataset.repo / task.dataset.config
        folder.mkdir(parents=True)
        for split in (task.train_split, task.test_split):
            rows = BuiltinSource(name).rows(split)
            (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        monkeypatch.setenv("TUNELAB_DATA", str(tmp_path / "mirror"))
        return task, load_samples(task, task.test_split, BuiltinSource(name))

    return mirrored


@pytest.mark.skipif(not PARITY.exists(), reason="TUNELAB_DATA is unset: the recorded SQuAD answers are not here")
def test_recorded_squad_answers_as_one_object_score_as_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNELAB_DATA", str(DATA))
    said = json.loads((PARITY / "squad_v2" / "bert-predictions.json").read_text())
    found = []
    for split in ("train", "validation"):
        rows = (DATA / "rajpurkar" / "squad_v2" / "squad_v2" / f"{split}.jsonl").read_text().splitlines()
        path = tmp_path / f"{split}.json"
        path.write_text(json.dumps({i: said[i] for i in (json.loads(row)["id"] for row in rows)}))
        found.append(score_file("squad_v2", path, split))
    assert [r["unanswered"] for r in found] == [0, 0]
    for name, expected in SQUAD.items():
        metrics = [r["metrics"][name] for r in found]
        total = sum(m["value"] * m["n"] for m in metrics)
        assert 100 * total / sum(m["n"] for m in metrics) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", TEXTS)
def test_outputs_score_alike_by_our_id_by_the_data_sets_id_by_index_and_by_target(scored, shipped, name):
    task, samples = shipped(name)
    outputs = [{"output": " ".join(task.target(s).split()[:-1])} for s in samples]
    given = [s.metadata.get("id", s.id) for s in samples]
    ways = {
        "ours": [o | {"id": s.id} for o, s in zip(outputs, samples, strict=True)],
        "theirs": [o | {"id": i} for o, i in zip(outputs, given, strict=True)],
        "index": [o | {"index": i} for i, o in enumerate(outputs)],
        "target": [o | {"target": list(s.targets)} for o, s in zip(outputs, samples, strict=True)],
    }
    results = {way: scored(rows, name) for way, rows in ways.items()}
    assert results["theirs"] == results["index"] == results["target"] == results["ours"]
    assert results["ours"]["n"] == len(samples)


def test_squad_answers_as_one_object_are_clustered_and_what_is_missing_is_counted(shipped, tmp_path):
    task, samples = shipped("squad_v2")
    path = tmp_path / "said.json"
    path.write_text(json.dumps({s.id: task.target(s) for s in samples[1:]} | {samples[1].id: "wrong"}))
    found = score_file("squad_v2", path)
    assert (found["n"], found["unanswered"], found["outcomes"]["correct"]) == (len(samples) - 1, 1, len(samples) - 2)
    clusters = [s.metadata["cluster"] for s in samples[1:]]
    expected = mean_t([0.0] + [1.0] * (len(samples) - 2), clusters)
    assert (found["metrics"]["exact"]["low"], found["metrics"]["exact"]["high"]) == (expected.low, expected.high)


def test_an_id_of_the_data_set_that_names_two_samples_is_refused(scored, tmp_path, monkeypatch):
    folder = tmp_path / "google" / "code_x_glue_tc_text_to_code" / "default"
    folder.mkdir(parents=True)
    (folder / "validation.jsonl").write_text('{"id": 7, "nl": "a", "code": "b ;"}\n' * 2)
    monkeypatch.setenv("TUNELAB_DATA", str(tmp_path))
    with pytest.raises(DataError, match="got id 7, expected one of the split's 2 ids, like 'validation-0'"):
        scored([{"output": "b ;", "id": 7}], "code_text_to_code")


def test_own_targets_may_share_a_cluster(scored):
    rows = [{"output": "#### 4", "target": str(4 + i % 2), "cluster": i // 3} for i in range(12)]
    found = scored(rows)["metrics"]["numeric"]
    expected = mean_t([1 - i % 2 for i in range(12)], [i // 3 for i in range(12)])
    assert (found["low"], found["high"]) == (expected.low, expected.high)


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
