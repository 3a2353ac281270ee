"""Mixed rows as files: one shape for every task, what training and evaluation use, and a receipt that adds up."""

import json
from collections import Counter

import pandas as pd
import pytest
from study_files import STUDY, changed, opened, put

from tunelab.data.readers import read_rows
from tunelab.engine.runner import Runner, State
from tunelab.files import read_lines
from tunelab.study.api import SilentReporter
from tunelab.study.layout import link_data, link_mixtures
from tunelab.study.open import only_data, open_points
from tunelab.study.unified_plan import files_of

TREE = {"math": ["arithmetic", "gsm8k"], "qa": ["hotpotqa"]}
WEIGHTS = {"math": 4, "qa": 3}
TASKS = ["arithmetic", "gsm8k", "hotpotqa"]
MIXED = {
    "format": "chat",
    "method": "grpo",
    "task": TASKS,
    "rows": None,
    "mixture": {"rule": "ratio", "weights": WEIGHTS, "max_repeats": 2, "seed": 3},
}
RAW = changed(
    task=None,
    tasks=TREE,
    data={
        "source": "builtin",
        "leaks": "drop",
        "splits": {"gsm8k": {"from": "train", "shares": {"train": 5, "test": 1}, "seed": 1}},
    },
    train={"mixed": MIXED},
    evaluate={task: {"format": "chat", "task": task} for task in TASKS} | {"few": {"format": "raw", "task": "gsm8k"}},
    evaluation={"max_new_tokens": 4},
)


def prepared(folder, raw=RAW, *overrides):
    found = only_data(open_points(opened(folder, raw, *overrides), folder, folder / "store"))
    outcome = Runner(found.store, SilentReporter()).run(found.targets())
    link_data(found, outcome, folder / "results")
    return found, outcome, link_mixtures(found, outcome, folder / "results")


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unified")
    found, outcome, folders = prepared(folder)
    assert outcome.ok
    assert folders == {"mixed": folder / "results" / "templates" / "data"}
    return found, outcome, folders["mixed"]


def info(folder):
    return json.loads((folder / "mixed" / "info.json").read_text())


def test_every_line_has_the_same_fields(mixture):
    _, _, folder = mixture
    fields = ["id", "dataset", "domain", "question", "reference_answer", "answer_type", "metadata"]
    for name in ("mixed/train_mixed.jsonl", "mixed/test_mixed.jsonl", "test/gsm8k_test.jsonl"):
        rows = read_rows(folder / name)
        assert rows
        assert all(list(row) == fields for row in rows)
        assert all(row["question"].strip() and row["reference_answer"].strip() for row in rows)
    rows = read_rows(folder / "mixed/train_mixed.jsonl")
    assert {row["dataset"]: (row["domain"], row["answer_type"]) for row in rows} == {
        "arithmetic": ("math", "number"), "gsm8k": ("math", "number"), "hotpotqa": ("qa", "text"),
    }  # fmt: skip


def test_the_rows_are_those_that_training_and_evaluation_use(mixture):
    found, outcome, folder = mixture
    trained = found.compiled.train["mixed"].inputs["rows"]
    rows = read_lines(found.store.open(outcome.effective[trained.fingerprint]).path("rows.jsonl"))
    assert [row["id"] for row in read_rows(folder / "mixed/train_mixed.jsonl")] == [row["id"] for row in rows]
    scored = found.compiled.scores["mixed/gsm8k"].inputs["rows"]
    rows = read_lines(found.store.open(outcome.effective[scored.fingerprint]).path("rows.jsonl"))
    assert [r["id"] for r in read_rows(folder / "test/gsm8k_test.jsonl")] == [f"gsm8k/{row['id']}" for row in rows]


def test_the_receipt_adds_up(mixture):
    _, _, folder = mixture
    found = info(folder)
    for part, name in (("train", "mixed/train_mixed.jsonl"), ("test", "mixed/test_mixed.jsonl")):
        rows, receipt = read_rows(folder / name), found[part]
        assert receipt["rows"] == len(rows) == sum(source["rows"] for source in receipt["sources"].values())
        assert Counter(row["dataset"] for row in rows) == {n: s["rows"] for n, s in receipt["sources"].items()}
        assert Counter(row["domain"] for row in rows) == {n: d["rows"] for n, d in receipt["domains"].items()}
        unique = {row["id"].partition("~")[0] for row in rows}
        assert receipt["unique"] == len(unique) == sum(source["unique"] for source in receipt["sources"].values())
        assert receipt["domains"]["math"]["share"] == pytest.approx(4 / 7, abs=0.06)
    sources = found["train"]["sources"]
    assert found["train"]["tokens"] == sum(source["tokens"] for source in sources.values()) > 0
    assert max(source["repeats"] for source in sources.values()) > 1
    assert all(source["repeats"] == 1 for source in found["test"]["sources"].values())
    assert found["splits"]["gsm8k"]["rows"] == {"train": 10, "test": 2}
    assert found["splits"]["gsm8k"]["shares"] == {"train": 5.0, "test": 1.0}
    assert found["splits"]["gsm8k"]["unused"] == 10 - found["train"]["sources"]["gsm8k"]["available"]


def test_no_scored_row_nor_a_near_duplicate_of_one_is_trained_on(mixture):
    _, _, folder = mixture
    checks = info(folder)["leaks"]
    assert checks
    assert all(
        check["exact"] == check["same_cluster"] == check["near"] == check["overlapping"] == 0 for check in checks
    )
    asked = {row["question"] for row in read_rows(folder / "mixed/train_mixed.jsonl")}
    for entry in json.loads((folder / "test" / "test_index.json").read_text()):
        rows = read_rows(folder / entry["file"])
        assert entry["rows"] == len(rows)
        assert not asked & {row["question"] for row in rows}


def test_the_test_mixture_holds_scored_rows_only_and_each_once(mixture):
    _, _, folder = mixture
    scored = {row["id"] for task in TASKS for row in read_rows(folder / f"test/{task}_test.jsonl")}
    mixed = [row["id"] for row in read_rows(folder / "mixed/test_mixed.jsonl")]
    assert set(mixed) <= scored
    assert len(set(mixed)) == len(mixed)


def test_two_readings_of_a_mixture_lie_in_folders_of_their_own(tmp_path):
    raw = put(RAW, "train.all", MIXED | {"mixture": MIXED["mixture"] | {"size": "total", "max_repeats": 400,
              "allow_repeats": True}})  # fmt: skip
    _, outcome, folders = prepared(tmp_path, raw)
    assert outcome.ok
    data = tmp_path / "results" / "templates" / "data"
    assert folders == {"mixed": data / "mixed", "all": data / "all"}
    assert (info(folders["mixed"])["rule"]["size"], info(folders["all"])["rule"]["size"]) == ("smallest", "total")
    assert info(folders["all"])["train"]["rows"] > info(folders["mixed"])["train"]["rows"]
    assert "warning" in info(folders["all"])["train"]["sources"]["hotpotqa"]


def test_variants_of_one_mixture_share_its_files(tmp_path):
    _, _, folders = prepared(tmp_path, put(RAW, "train.again", MIXED | {"lr": 0.1}))
    assert folders == {"mixed": tmp_path / "results" / "templates" / "data"}


def test_without_the_model_rows_are_written_and_their_tokens_are_not_known(tmp_path):
    found, outcome, folders = prepared(tmp_path, RAW | {"model": "./nowhere"})
    assert {found.store.find(step) is None for step in found.targets() if step.kind == "tokenise"} == {True}
    assert State.BLOCKED in outcome.states.values()
    receipt = info(folders["mixed"])["train"]
    assert receipt["rows"] > 0
    assert receipt["tokens"] is receipt["sources"]["gsm8k"]["tokens"] is None


def test_too_few_scored_rows_for_the_rule_are_said_and_stop_nothing(tmp_path):
    raw = put(RAW, "evaluation.rows", 1)
    _, outcome, folders = prepared(tmp_path, raw)
    assert outcome.ok
    assert "would give none of" in info(folders["mixed"])["test"]["error"]


def test_a_study_on_one_task_has_no_mixture(tmp_path):
    assert prepared(tmp_path, changed(recipe=STUDY["recipe"] | {"rows": 8}))[2] == {}


def test_tokens_are_those_of_each_tasks_own_rows(mixture):
    found, outcome, folder = mixture
    tokenised = next(step for step in found.targets() if step.kind == "unify").inputs["tokens"]
    table = pd.read_parquet(found.store.open(outcome.effective[tokenised.fingerprint]).path("train.parquet"))
    counted = Counter()
    for id_, ids in zip(table["id"], table["prompt_ids"], strict=True):
        counted[id_.partition("/")[0]] += len(ids)
    assert counted == {name: source["tokens"] for name, source in info(folder)["train"]["sources"].items()}


def test_every_accepted_answer_is_there_and_the_plainest_one_stands_first(mixture):
    _, _, folder = mixture
    rows = read_rows(folder / "mixed/train_mixed.jsonl")
    several = [row for row in rows if "accepted" in row["metadata"]]
    assert all(row["metadata"]["accepted"][0] == row["reference_answer"] for row in several)
    assert all(len(row["metadata"]["accepted"]) > 1 for row in several)


def test_a_file_of_scored_rows_that_is_no_longer_asked_for_is_no_longer_there(tmp_path):
    _, _, folders = prepared(tmp_path)
    assert (folders["mixed"] / "test" / "hotpotqa_test.jsonl").exists()
    fewer = {**MIXED, "task": TASKS[:2], "mixture": {**MIXED["mixture"], "weights": {"arithmetic": 1, "gsm8k": 1}}}
    raw = {**RAW, "train": {"mixed": fewer}, "evaluate": {t: RAW["evaluate"][t] for t in TASKS[:2]}}
    _, _, folders = prepared(tmp_path, raw)
    names = sorted(path.name for path in (folders["mixed"] / "test").iterdir())
    assert names == ["arithmetic_test.jsonl", "gsm8k_test.jsonl", "test_index.json"]


def test_two_tasks_of_one_class_name_have_files_of_their_own():
    files = files_of(["a.py:Mine", "gsm8k", "b/c.py:Mine", "d.py:Mine"])
    assert list(files.values()) == [f"test/{name}_test.jsonl" for name in ("Mine", "gsm8k", "Mine-2", "Mine-3")]
