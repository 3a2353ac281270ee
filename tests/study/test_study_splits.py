"""Splits that a study makes: rows of one split, parted before training and evaluation ever see them."""

import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import yaml
from study_files import compiled, kinds, only, opened, put

from tunelab.cli.data import choose_data
from tunelab.data.sources import BuiltinSource
from tunelab.errors import StudyError
from tunelab.formats.format import Format
from tunelab.models.load import load_tokenizer
from tunelab.models.spec import resolve
from tunelab.study.api import run
from tunelab.study.configurations import configuration, needed_files, portable
from tunelab.study.open import only_data, open_study
from tunelab.study.preview import find_subject, preview_rows
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import load_samples, question_text

HUB = os.environ.get("TUNELAB_DATA")
SPLITS = {"from": "test", "shares": {"train": 0.5, "validation": 0.25, "test": 0.25}}
STUDY = {
    "study": "parts",
    "question": "What is learnt?",
    "model": "tiny",
    "task": "mmmlu",
    "formats": {"chat": {"template": "chat"}},
    "recipe": {"method": "sft", "loss": "completion", "adaptation": "full", "lr": 0.001, "epochs": 1, "max_steps": 2},
    "train": {"sft": {"format": "chat", "batch_size": 4}},
    "evaluate": {"chat": {"format": "chat", "by": "choose"}},
    "data": {"source": "builtin", "splits": {"mmmlu": SPLITS}},
}


def prepared(folder, pattern):
    """The samples and the receipt of one prepare step."""
    [found] = folder.glob(f"store/prepare/{pattern}")
    lines = (found / "rows.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], json.loads((found / "receipt.json").read_text())


def clusters(rows):
    return {row["metadata"]["cluster"] for row in rows}


def ran(folder, raw):
    return run(only(folder, raw), store=folder / "store", results=folder / "results")


def test_training_and_evaluation_have_the_parts_and_no_question_is_in_both(tmp_path):
    raw = put(STUDY, "evaluate.held", {"format": "chat", "by": "choose", "split": "validation"})
    compared = ran(tmp_path, put(raw, "data.splits.mmmlu.stratify", "category"))
    assert {c["evaluation"]: c["n"] for c in compared["cells"] if c["variant"] == "sft"} == {"chat": 4, "held": 4}
    found = {part: prepared(tmp_path, f"mmmlu-{part}-*") for part in SPLITS["shares"]}
    assert {part: len(rows) for part, (rows, _) in found.items()} == {"train": 8, "validation": 4, "test": 4}
    assert [len(clusters(rows)) for rows, _ in found.values()] == [4, 2, 2]
    assert len({row["id"] for rows, _ in found.values() for row in rows}) == 16
    made = found["test"][1]["made"]
    assert (made["from"], made["available"], made["groups"], made["rows"]["train"]) == ("test", 16, 8, 8)
    assert made["strata"]["stem"]["available"] == 4
    page = (tmp_path / "results" / "parts" / "report" / "index.html").read_text()
    assert all(text in page for text in ("train, made of test", "train 8, validation 4, test 4", "8 groups"))
    several = made["in_several_parts"]
    assert (made["questions"], several["here"]) == (8, 0)
    assert 0 < several["ungrouped"] <= 8
    assert f"of 8 questions 0 stand in several parts, {several['ungrouped']} where groups are ignored" in page
    assert made["rare"] == ["humanities", "other", "social sciences", "stem"]


@pytest.fixture
def parted(tmp_path):
    """A study that ignores which rows are translations of each other."""
    return put(STUDY, "data.splits.mmmlu.group", None)


def test_translations_on_both_sides_are_refused_as_leaks_by_cluster(tmp_path, parted):
    assert ran(tmp_path, parted)["holes"] == ["sft/chat"]
    raw = put(parted, "data.leaks", "report")
    assert ran(tmp_path, raw)["holes"] == []
    rows = {part: prepared(tmp_path, f"mmmlu-{part}-*")[0] for part in ("train", "test")}
    both = clusters(rows["train"]) & clusters(rows["test"])
    assert both
    [finished] = tmp_path.glob("store/check/*/record.json")
    found = json.loads((finished.parent / "leaks.json").read_text())
    assert found["same_cluster"] == sum(row["metadata"]["cluster"] in both for row in rows["test"])
    assert {leak["kind"] for leak in found["rows"]} == {"cluster"}
    receipt = prepared(tmp_path, "mmmlu-test-*")[1]["made"]
    several = receipt["in_several_parts"]
    assert several["here"] == several["ungrouped"] >= len(both)
    assert (receipt["groups"], receipt["questions"]) == (16, 8)


def test_translations_of_scored_rows_are_dropped_from_training_where_the_study_says_so(tmp_path, parted):
    assert ran(tmp_path, put(parted, "data.leaks", "drop"))["holes"] == []
    train, receipt = prepared(tmp_path, "mmmlu-train-*")
    assert not clusters(train) & clusters(prepared(tmp_path, "mmmlu-test-*")[0])
    assert len(receipt["dropped_as_leaks"]) == 8 - len(train) > 0


def test_long_rows_are_left_out_before_anything_is_parted_and_the_receipt_says_how_many(tmp_path):
    raw = put(STUDY, "data.splits.mmmlu.longest", {"tokens": 100, "tokenizer": "tiny"})
    ran(tmp_path, put(raw, "data.splits.mmmlu.stratify", "category"))
    encode, task = load_tokenizer(resolve("tiny")).encode, find_task("mmmlu")
    samples = load_samples(task, "test", BuiltinSource("mmmlu"))
    long = [s for s in samples if len(encode(question_text(task, s), add_special_tokens=False)) > 100]
    rows, receipt = prepared(tmp_path, "mmmlu-test-*")
    assert 0 < len(long) < len(samples)
    made = receipt["made"]
    assert (made["too_long"], sum(made["rows"].values())) == (len(long), 16 - len(long))
    by_category = Counter(s.metadata["category"] for s in long)
    assert {name: found["too_long"] for name, found in made["strata"].items()} == {
        name: by_category[name] for name in made["strata"]
    }
    assert not {row["id"] for row in rows} & {s.id for s in long}


def test_worked_examples_and_held_out_rows_are_of_the_training_part_and_leave_with_their_translations(tmp_path):
    raw = put(STUDY, "formats.chat.few_shots", {"k": 1})
    raw = put(raw, "recipe.lr", {"search": [0.001, 0.01], "on": "validation", "rows": 2})
    assert ran(tmp_path, raw)["holes"] == []
    [shots] = tmp_path.glob("store/prepare/mmmlu-train-shots-*/rows.jsonl")
    shot = clusters([json.loads(shots.read_text())])
    scored = clusters(prepared(tmp_path, "mmmlu-test-*")[0])
    parts = [
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in tmp_path.glob("store/prepare/mmmlu-train-[!s]*/rows.jsonl")
    ]
    assert len(parts) == 2
    for part in parts:
        assert not clusters(part) & (shot | scored)
    assert not clusters(parts[0]) & clusters(parts[1])


def test_only_what_decides_about_the_rows_is_part_of_their_identity(tmp_path):
    long = put(STUDY, "data.splits.mmmlu.longest", {"tokens": 100, "tokenizer": "tiny"})
    rows = compiled(tmp_path, long).train["sft"].inputs["rows"]
    assert rows.settings["made"]["longest"]["tokenizer"] == resolve("tiny").identity
    shutil.copytree(Path(resolve("tiny").location), tmp_path / "tok")
    tokenizer = put(long, "data.splits.mmmlu.longest.tokenizer", "./tok")
    others = [
        put(long, "data.splits.mmmlu.seed", 1),
        put(long, "data.splits.mmmlu.longest.tokens", 99),
        tokenizer,
        STUDY,
    ]
    found = [compiled(tmp_path, raw).train["sft"].inputs["rows"].fingerprint for raw in others]
    assert len({rows.fingerprint, *found}) == 5
    again = put(long, "data.splits.gsm8k", SPLITS)
    assert compiled(tmp_path, again).train["sft"].fingerprint == compiled(tmp_path, long).train["sft"].fingerprint


def test_a_tokenizer_that_is_not_there_blocks_the_rows(tmp_path):
    raw = put(STUDY, "data.splits.mmmlu.longest", {"tokens": 100, "tokenizer": "./gone"})
    assert "gone has none of tokenizer.json" in compiled(tmp_path, raw).train["sft"].inputs["rows"].blocked


def test_a_folder_with_a_tokenizer_alone_counts_and_weights_beside_it_change_nothing(tmp_path):
    (tmp_path / "alone").mkdir()
    shutil.copy(Path(resolve("tiny").location) / "tokenizer.json", tmp_path / "alone")
    raw = put(STUDY, "data.splits.mmmlu.longest", {"tokens": 100, "tokenizer": str(tmp_path / "alone")})
    ran(tmp_path, raw)
    _, receipt = prepared(tmp_path, "mmmlu-test-*")
    assert 0 < receipt["made"]["too_long"] < 16
    before = compiled(tmp_path, raw).train["sft"].fingerprint
    (tmp_path / "alone" / "model.safetensors").write_bytes(b"weights")
    assert compiled(tmp_path, raw).train["sft"].fingerprint == before


def test_a_tokenizer_is_looked_for_where_its_name_was_written(tmp_path, monkeypatch):
    for name in ("studies", "here"):
        shutil.copytree(Path(resolve("tiny").location), tmp_path / name / "tok")
    monkeypatch.chdir(tmp_path / "here")
    raw = put(STUDY, "data.splits.mmmlu.longest", {"tokens": 100, "tokenizer": "./tok"})
    (tmp_path / "studies" / "study.yaml").write_text(yaml.safe_dump(raw))
    places = []
    for overrides in ((), ("data.splits.mmmlu.longest.tokenizer=./tok",)):
        found = open_study("../studies/study.yaml", overrides, tmp_path / "store").compiled
        places.append(Path(found.train["sft"].inputs["rows"].circumstance["tokenizer"]["location"]).parent.name)
    assert places == ["studies", "here"]


def test_a_variant_s_own_study_makes_the_same_splits_from_wherever_it_lies(tmp_path):
    shutil.copytree(Path(resolve("tiny").location), tmp_path / "tok")
    raw = put(STUDY, "data.splits.mmmlu.longest", {"tokens": 100, "tokenizer": "./tok"})
    found = compiled(tmp_path, put(raw, "data.splits.gsm8k", SPLITS))
    settings = configuration(found, "sft")
    assert list(settings["data"]["splits"]) == ["mmmlu"]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "sft.json").write_text(json.dumps(settings))
    again = open_study(str(tmp_path / "elsewhere" / "sft.json"), [], tmp_path / "store").compiled
    assert again.train["sft"].fingerprint == found.train["sft"].fingerprint
    assert again.scores["sft/chat"].fingerprint == found.scores["sft/chat"].fingerprint
    assert str((tmp_path / "tok").resolve()) in needed_files(settings)
    assert portable(settings)["data"]["splits"]["mmmlu"]["longest"]["tokenizer"] == "./tok"


def test_a_smoke_run_counts_by_the_bundled_tokenizer_and_shares_its_few_rows_alike(tmp_path):
    raw = put(STUDY, "data.splits.mmmlu.longest", {"tokens": 256, "tokenizer": "nobody/has-this"})
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(raw))
    found = open_study(str(tmp_path / "study.yaml"), [], tmp_path / "store", smoke=True).compiled
    made = found.train["sft"].inputs["rows"].settings["made"]
    assert made["longest"]["tokenizer"] == resolve("tiny").identity
    assert made["shares"] == dict.fromkeys(SPLITS["shares"], 1 / 3)


def test_n_of_a_part_is_not_the_published_size_of_its_split(tmp_path):
    raw = put(put(STUDY, "task", "gsm8k"), "data", {"source": "hub", "splits": {"gsm8k": SPLITS}})
    raw = put(raw, "evaluate.chat.by", "generate")
    [base, _] = [cell["rows"] for cell in compiled(tmp_path, raw).compare.settings["cells"]]
    assert (base["published"], base["reserves"]) == (None, False)
    plain = compiled(tmp_path, put(raw, "data.splits", {})).compare.settings["cells"]
    assert plain[0]["rows"]["published"] == 1319


def test_parts_called_train_and_test_are_the_defaults_of_a_task_with_other_names(tmp_path):
    raw = put(put(STUDY, "task", "mmlu"), "data.splits", {"mmlu": SPLITS})
    found = compiled(tmp_path, raw)
    assert found.train["sft"].inputs["rows"].settings["split"] == "train"
    plain = compiled(tmp_path, put(raw, "data.splits", {}))
    assert plain.train["sft"].inputs["rows"].settings["split"] == "dev"
    assert "made" not in plain.train["sft"].inputs["rows"].settings


def test_a_mixture_takes_each_task_s_own_splits(tmp_path):
    raw = put(STUDY, "train.sft.task", ["mmmlu", "gsm8k"])
    found = compiled(tmp_path, raw)
    rows = found.train["sft"].inputs["rows"]
    assert rows.kind == "mix"
    assert {name: "made" in step.settings for name, step in rows.inputs.items()} == {"mmmlu": True, "gsm8k": False}
    assert kinds(found)["mix"] == 1


def test_a_file_of_a_variant_s_own_is_not_parted(tmp_path):
    (tmp_path / "own.jsonl").write_text("{}\n")
    found = compiled(tmp_path, put(STUDY, "train.sft.file", "own.jsonl"))
    assert "made" not in found.train["sft"].inputs["rows"].settings


def test_mistakes_are_named(tmp_path):
    with pytest.raises(StudyError, match=r"data\.splits: got 'mmmlou', expected the name of a task.*mmmlu"):
        compiled(tmp_path, put(STUDY, "data.splits", {"mmmlou": SPLITS}))
    with pytest.raises(StudyError, match=r"unknown key 'data\.splits\.mmmlu\.of'"):
        opened(tmp_path, put(STUDY, "data.splits.mmmlu", {**SPLITS, "of": "test"}))
    with pytest.raises(StudyError, match=r"data\.splits\.mmmlu\.shares: got .*sum 1"):
        opened(tmp_path, put(STUDY, "data.splits.mmmlu.shares", {"train": 0.5}))


def test_data_prepare_and_show_have_the_rows_of_the_part(tmp_path):
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    path = str(tmp_path / "study.yaml")
    steps = only_data(open_study(path, [], tmp_path / "store")).targets()
    assert [step.inputs["rows"].settings["made"]["from"] for step in steps] == ["test"]
    ran(tmp_path, STUDY)
    subject = find_subject(path)
    subject = replace(subject, data=choose_data(subject, None, []))
    for part in ("train", "test"):
        shown = [row.id for row in preview_rows(subject, Format(template="chat"), "all", part, 99)]
        assert shown == [row["id"] for row in prepared(tmp_path, f"mmmlu-{part}-*")[0]]


EIGHTY = {"train": 0.8, "validation": 0.1, "test": 0.1}


def real(tmp_path, monkeypatch, task, **splits):
    """Run a study on the real rows of a task's test split, by subject; return what it compared."""
    monkeypatch.setenv("TUNELAB_DATA", HUB)
    made = {task: {"from": "test", "shares": EIGHTY, "stratify": "subject", **splits}}
    raw = put(put(STUDY, "task", task), "data", {"source": "mirror", "splits": made})
    raw = put(put(raw, "train.sft.rows", 16), "evaluate.chat.rows", 16)
    return ran(
        tmp_path, put(raw, "evaluate.held", {"format": "chat", "split": "validation", "by": "choose", "rows": 16})
    )


def farthest(made):
    """Return by how many rows a stratum, or all rows, are away from a part's share at most, of a receipt."""
    found = [(s["available"] - s["too_long"], s) for s in made["strata"].values()]
    found.append((made["available"] - made["too_long"], made["rows"]))
    return max(abs(rows[part] - n * Fraction(str(share))) for n, rows in found for part, share in EIGHTY.items())


@pytest.mark.skipif(not HUB, reason="TUNELAB_DATA is not set")
def test_german_and_french_exams_from_end_to_end(tmp_path, monkeypatch):
    compared = real(tmp_path, monkeypatch, "exams", longest={"tokens": 256, "tokenizer": "tiny"})
    rows, receipt = prepared(tmp_path, "exams-test-*")
    made = receipt["made"]
    assert made["available"] == 577 + 318 - 2
    assert {row["metadata"]["language"] for row in rows} == {"de", "fr"}
    assert [cell["n"] for cell in compared["cells"]] == [16] * 4
    assert made["too_long"] > 0
    assert farthest(made) < 1


@pytest.mark.skipif(not HUB, reason="TUNELAB_DATA is not set")
def test_all_of_mmlu_from_end_to_end(tmp_path, monkeypatch):
    """The leak check refuses by default, so that the study has no hole says that the parts share no question."""
    compared = real(tmp_path, monkeypatch, "mmlu")
    assert compared["holes"] == []
    assert [cell["n"] for cell in compared["cells"]] == [16] * 4
    made = {part: prepared(tmp_path, f"mmlu-{part}-*")[1]["made"] for part in EIGHTY}
    assert made["train"] == made["validation"] == made["test"]
    assert (made["test"]["available"], made["test"]["too_long"], len(made["test"]["strata"])) == (14_042, 0, 57)
    assert farthest(made["test"]) < 1
    assert made["test"]["in_several_parts"]["here"] == 0
    assert made["test"]["in_several_parts"]["ungrouped"] > 10
