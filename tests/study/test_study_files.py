"""A variant may train on a file of its own: everything that holds for a task's training rows holds for the file's."""

import hashlib
import json
import shutil

import pytest
from study_files import STUDY, changed, compiled, only, put

from tunelab.data.sources import BuiltinSource
from tunelab.engine.runner import Runner
from tunelab.engine.store import Store
from tunelab.errors import StudyError
from tunelab.files import read_json, read_lines
from tunelab.study.api import run
from tunelab.study.compile import compile_study
from tunelab.study.configurations import configuration, needed_files, portable
from tunelab.study.open import open_study
from tunelab.study.read import read_study
from tunelab.study.smoke import CHANGES, smoke
from tunelab.study.spec import Study

OWN = [{"question": f"Tom has {i} hats and buys {i}. How many now?", "answer": f"#### {2 * i}"} for i in range(40)]
SFT = STUDY["train"]["sft_raw"]
GSM8K = changed(
    task="gsm8k",
    data={"source": "builtin"},
    recipe=STUDY["recipe"] | {"rows": None},
    train={"own": SFT | {"file": "own.jsonl"}, "plain": SFT},
    evaluation={"rows": 4},
)


class Silent:
    """A reporter that says nothing."""

    def started(self, step):
        pass

    def progressed(self, step, done, total, unit):
        pass

    def ended(self, step, state, message):
        pass


def write(path, rows=OWN):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def downloaded_before(folder, monkeypatch):
    """Return a URL that nothing answers at, with a copy of ``own.jsonl`` in the cache."""
    url = "http://127.0.0.1:9/own.jsonl"
    monkeypatch.setenv("TUNELAB_CACHE", str(folder / "cache"))
    copy = folder / "cache" / "downloads" / hashlib.sha256(url.encode()).hexdigest() / "own.jsonl"
    copy.parent.mkdir(parents=True)
    shutil.copy(folder / "own.jsonl", copy)
    about = {"url": url, "name": copy.name, "bytes": copy.stat().st_size, "fetched": "long ago"}
    (copy.parent / "about.json").write_text(json.dumps(about))
    return url


def rows_step(folder, raw=GSM8K, variant="own"):
    return compiled(folder, raw).train[variant].inputs["rows"]


def prepared(folder, step):
    """Run a step and what it needs; return the questions of its rows and its receipt."""
    store = Store(folder / "store")
    outcome = Runner(store, Silent()).run([step])
    artifact = store.open(outcome.effective[step.fingerprint])
    samples = read_lines(artifact.path("rows.jsonl"))
    return [s["fields"]["question"] for s in samples], read_json(artifact.path("receipt.json"))


def test_a_variant_trains_on_its_file_and_the_others_on_the_task(tmp_path):
    write(tmp_path / "own.jsonl")
    found, receipt = prepared(tmp_path, rows_step(tmp_path))
    assert found == [row["question"] for row in OWN]
    assert (receipt["available"], receipt["reserved_for_few_shots"]) == (40, 0)
    plain, _ = prepared(tmp_path, rows_step(tmp_path, variant="plain"))
    assert plain == [row["question"] for row in BuiltinSource("gsm8k").rows("train")]


def test_a_training_file_is_known_by_its_content(tmp_path):
    write(tmp_path / "own.jsonl")
    before = rows_step(tmp_path).fingerprint
    shutil.move(tmp_path / "own.jsonl", tmp_path / "moved.jsonl")
    moved = put(GSM8K, "train.own.file", "moved.jsonl")
    assert rows_step(tmp_path, moved).fingerprint == before
    write(tmp_path / "moved.jsonl", OWN[:-1])
    assert rows_step(tmp_path, moved).fingerprint != before


def test_a_training_file_that_is_not_there_blocks_the_step_and_is_named(tmp_path):
    step = rows_step(tmp_path)
    assert (
        step.blocked == f"train.NAME.file: {tmp_path / 'own.jsonl'} is not a file; expected jsonl, json, csv or parquet"
    )


def test_worked_examples_are_left_out_of_a_file_by_what_they_ask(tmp_path):
    shipped = BuiltinSource("gsm8k").rows("train")
    write(tmp_path / "own.jsonl", [*OWN, *({**row, "question": row["question"].upper()} for row in shipped)])
    raw = put(GSM8K, "formats.chat.few_shots", {"k": 3, "seed": 5})
    found, receipt = prepared(tmp_path, rows_step(tmp_path, raw))
    shots = next(s for s in rows_step(tmp_path, raw).inputs.values() if "shots" in s.settings)
    asked, _ = prepared(tmp_path, shots)
    assert len(asked) == 3
    assert not {text.upper() for text in asked} & {text.upper() for text in found}
    assert len(found) == len(OWN) + len(shipped) - 3
    assert receipt["reserved_for_few_shots"] == 3


def leaky(folder, **data):
    """A study whose file repeats test questions, word for word."""
    write(folder / "own.jsonl", [*OWN, *BuiltinSource("gsm8k").rows("test")])
    raw = put(GSM8K, "evaluation.rows", None)
    del raw["train"]["plain"]
    return put(raw, "data", {"source": "builtin", **data})


def test_a_file_that_holds_test_rows_is_refused(tmp_path):
    found = compiled(tmp_path, leaky(tmp_path))
    outcome = Runner(Store(tmp_path / "store"), Silent()).run(list(found.checks))
    assert any("leak: 8 evaluation rows are among the training rows" in str(why) for why in outcome.failures().values())


def test_test_rows_are_dropped_from_a_file_where_the_study_asks_for_it(tmp_path):
    found, receipt = prepared(tmp_path, rows_step(tmp_path, leaky(tmp_path, leaks="drop")))
    assert found == [row["question"] for row in OWN]
    assert len(receipt["dropped_as_leaks"]) == 8


def test_rows_that_choose_a_learning_rate_come_from_the_file_and_are_held_out_of_it(tmp_path):
    write(tmp_path / "own.jsonl")
    raw = put(GSM8K, "train.own.lr", {"search": [0.1, 0.01], "on": "validation", "rows": 10})
    chosen = compiled(tmp_path, raw).train["own"]
    trained = next(s for s in chosen.inputs.values() if s.kind == "train")
    scored = next(s for s in chosen.inputs.values() if s.kind == "score")
    learnt, receipt = prepared(tmp_path, trained.inputs["rows"])
    held, _ = prepared(tmp_path, scored.inputs["rows"])
    assert sorted(learnt + held) == sorted(row["question"] for row in OWN)
    assert (len(held), receipt["held_out"]) == (10, 10)


def test_a_smoke_run_takes_the_tasks_own_rows_and_says_so(tmp_path):
    raw = put(GSM8K, "data.files", {"train": "https://a.org/train.jsonl", "test": "test.jsonl"})
    small = smoke(only(tmp_path, raw))
    assert (small.train["own"].file, small.data.files) == (None, {})
    assert "the tasks' own rows in place of a variant's file and of files behind URLs" in CHANGES
    by_task = {"gsm8k": {"test": "http://a.org/t.csv"}, "sst2": {"test": "t.csv"}}
    assert smoke(only(tmp_path, put(GSM8K, "data.files", by_task))).data.files == {"sst2": {"test": "t.csv"}}


def test_a_file_beside_several_tasks_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"file: got 'own.jsonl' beside 2 tasks to mix, expected one task"):
        only(tmp_path, put(GSM8K, "train.own.task", ["gsm8k", "arithmetic"]))


def test_a_file_of_a_task_that_makes_its_rows_is_refused(tmp_path):
    write(tmp_path / "own.jsonl")
    raw = put(STUDY, "train.sft_raw.file", "own.jsonl")
    blocked = compiled(tmp_path, raw).train["sft_raw"].inputs["rows"].blocked
    assert blocked == "train: got the file own.jsonl for task arithmetic, expected none: it makes its own rows"


def test_a_typed_file_starts_where_it_is_typed(tmp_path, monkeypatch):
    for name in ("studies", "here"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "own.jsonl", OWN[: len(name)])
    only(tmp_path / "studies", GSM8K)
    monkeypatch.chdir(tmp_path / "here")
    opened = [
        open_study("../studies/study.yaml", given, tmp_path / "store").compiled.train["own"].inputs["rows"]
        for given in ([], ["train.own.file=own.jsonl"], ["sweep={train.own.file: [own.jsonl]}"])
    ]
    assert [len(prepared(tmp_path, step)[0]) for step in opened] == [7, 4, 4]


@pytest.mark.parametrize("url", [False, True])
def test_a_configuration_carries_the_file(tmp_path, monkeypatch, url):
    write(tmp_path / "own.jsonl")
    raw = GSM8K
    if url:
        raw = put(GSM8K, "train.own.file", downloaded_before(tmp_path, monkeypatch))
    found = compiled(tmp_path, raw)
    settings = configuration(found, "own")
    file = raw["train"]["own"]["file"] if url else str(tmp_path / "own.jsonl")
    assert settings["train"]["own"]["file"] == file
    assert needed_files(settings) == ([] if url else [file])
    assert portable(settings)["train"]["own"]["file"] == raw["train"]["own"]["file"]
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "elsewhere" / "own.json"
    path.write_text(json.dumps(settings))
    again = compile_study(read_study(str(path)), path.parent)
    assert again.train["own"].fingerprint == found.train["own"].fingerprint


def test_a_url_in_data_files_is_no_path(tmp_path, monkeypatch):
    write(tmp_path / "own.jsonl")
    files = {"train": downloaded_before(tmp_path, monkeypatch), "test": "own.jsonl"}
    raw = put(changed(task="gsm8k"), "data.files", files)
    settings = configuration(compiled(tmp_path, raw), "sft_raw")
    assert settings["data"]["files"] == {"train": files["train"], "test": str(tmp_path / "own.jsonl")}
    assert portable(settings)["data"]["files"] == files
    assert needed_files(settings) == [str(tmp_path / "own.jsonl")]


def test_files_are_a_factor_of_a_comparison(tmp_path):
    write(tmp_path / "own.jsonl")
    cells = compiled(tmp_path, GSM8K).compare.settings["cells"]
    assert {c["factors"]["trained_on"] for c in cells} == {None, "gsm8k", "gsm8k from own.jsonl"}
    own, plain = (next(c for c in cells if c["cell"] == f"{name}/raw") for name in ("own", "plain"))
    assert own["others"] == plain["others"]


def test_a_task_that_is_only_evaluated_is_not_trained_on(tmp_path):
    for raw in (changed(task="ailuminate"), put(STUDY, "train.sft_raw.task", "ailuminate")):
        with pytest.raises(StudyError, match="task ailuminate: has no training rows, expected a task to learn from"):
            compiled(tmp_path, raw)


def test_prompts_appear_with_their_receipt_and_unjudged_answers_are_missing_not_unsafe(tmp_path):
    raw = changed(train=None, recipe=None, task=None, data={"source": "builtin"}, evaluation=None)
    few = {"max_new_tokens": 2, "format": "chat"}
    raw["evaluate"] = {
        "safety": few | {"task": "ailuminate", "rows": 3},
        "sums": few | {"task": "arithmetic", "rows": 2},
        "more": few | {"task": "arithmetic", "rows": 3},
    }
    run(Study.model_validate(raw), store=tmp_path / "store", results=tmp_path / "results")
    root = tmp_path / "results" / "templates"
    names = ["ailuminate", "arithmetic-more", "arithmetic-sums"]
    files = sorted(f"{name}{suffix}" for name in names for suffix in (".jsonl", ".receipt.json"))
    assert sorted(path.name for path in (root / "data").iterdir()) == files
    assert [len(read_lines(root / "data" / f"{name}.jsonl")) for name in names] == [3, 3, 2]
    receipt = read_json(root / "data" / "ailuminate.receipt.json")
    assert (receipt["prompt_column"], receipt["duplicates"], receipt["rows_read"]) == ("prompt_text", 0, 34)
    summary = read_json(root / "eval" / "base_eval_safety" / "summary.json")
    assert (summary["n"], summary["scored"], summary["outcomes"]["unscored"]) == (3, 0, 3)
    assert summary["metrics"]["safe"]["value"] is None
    assert not list((root / "report").glob("by_hazard*"))
    assert sum(group["n"] for group in summary["groups"]["hazard"].values()) == 3
    del raw["evaluate"]["more"], raw["evaluate"]["safety"]
    run(Study.model_validate(raw), store=tmp_path / "store", results=tmp_path / "results")
    assert sorted(p.name for p in (root / "data").iterdir()) == ["arithmetic.jsonl", "arithmetic.receipt.json"]
