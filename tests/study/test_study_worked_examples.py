"""Worked examples: one pool for several k, a file of the user's, and never a row that is trained on or scored."""

import json

import pytest
from study_files import ECHO_TASK, compiled, only, put
from test_study_leaks import STUDY as LEAKS
from test_study_leaks import write

from tunelab.engine.plan import topological
from tunelab.errors import StepError, StudyError
from tunelab.files import read_lines
from tunelab.formats.format import FewShots
from tunelab.study.api import run
from tunelab.study.read import read_study
from tunelab.study.rows_plan import RowsPlan
from tunelab.study.steps import prepare

TRAIN = [f"How many are {i} and {i + 1}?" for i in range(20)]
TEST = ["How many are fifty and one?", "How many are sixty and one?"]
OWN = ["Is this mine, one?", "Is this mine, two?", "Is this mine, three?"]
SFT = {"sft": {"format": "plain", "max_steps": 1}}


def study(shots, **fields):
    """One format with worked examples of one pool, one without, and a training under the latter."""
    raw = put(put(LEAKS, "formats.shots.few_shots", shots), "train", SFT) | {"study": "pool"}
    for path, value in fields.items():
        raw = put(raw, path.replace("__", "."), value)
    return raw


def ran(folder, monkeypatch, raw, train=TRAIN, test=TEST):
    monkeypatch.chdir(folder)
    write(folder / "train.jsonl", train)
    write(folder / "test.jsonl", test)
    return run(only(folder, raw), store=folder / "store", results=folder / "results")


def questions(folder, pattern):
    """The questions of prepared rows; exactly one step matches."""
    [path] = folder.glob(f"store/prepare/{pattern}/rows.jsonl")
    return [row["fields"]["question"] for row in read_lines(path)]


def prompts(folder, name):
    [path] = folder.glob(f"store/generate/{name}-*/outputs.jsonl")
    return [row["prompt"] for row in read_lines(path)]


def without_few_shots(folder):
    """The steps that prepared training rows: those of no format's worked examples."""
    return [p for p in folder.glob("store/prepare/gsm8k-train-*/rows.jsonl") if "shots" not in p.parent.name]


def test_fewer_are_shown_than_are_chosen_and_all_that_are_chosen_are_kept_out(tmp_path, monkeypatch):
    assert ran(tmp_path, monkeypatch, study({"k": 2, "of": 6}))["holes"] == []
    pool = questions(tmp_path, "gsm8k-train-shots-*")
    [prompt, _] = prompts(tmp_path, "base-raw")
    assert len(pool) == 6
    assert [q in prompt for q in pool] == [True, True, False, False, False, False]
    [trained] = without_few_shots(tmp_path)
    assert {row["fields"]["question"] for row in read_lines(trained)} == set(TRAIN) - set(pool)


def test_formats_that_differ_in_k_share_a_pool_and_the_training_rows(tmp_path):
    shots = {f"shots{k}": {"template": "raw", "few_shots": {"k": k, "of": 8, "seed": 4}} for k in (3, 5, 8)}
    raw = study({"k": 3}) | {"formats": {**shots, "plain": {"template": "chat"}}}
    raw["train"] = {name: {"format": name} for name in raw["formats"]}
    raw["evaluate"] = {name: {"format": name} for name in shots}
    found = compiled(tmp_path, raw)
    steps = topological([found.report])
    [pool] = [s for s in steps if "shots" in s.settings]
    assert pool.settings["shots"] == {"k": 8, "seed": 4}
    [rows] = {s.inputs["rows"].fingerprint for s in found.train.values()}
    assert len({s.inputs["outputs"].fingerprint for s in found.scores.values()}) == len(found.scores)
    assert rows != pool.fingerprint


def test_a_pool_smaller_than_what_is_shown_is_refused():
    with pytest.raises(ValueError, match="of: got 2 for k: 3, expected at least k"):
        FewShots(k=3, of=2)


def test_rows_that_repeat_a_worked_example_are_kept_out_with_it(tmp_path, monkeypatch):
    doubled = [*TRAIN, *(q.upper() for q in TRAIN)]
    assert ran(tmp_path, monkeypatch, study({"k": 3}), train=doubled)["holes"] == []
    shown = {q.lower() for q in questions(tmp_path, "gsm8k-train-shots-*")}
    [trained] = without_few_shots(tmp_path)
    rows = [row["fields"]["question"].lower() for row in read_lines(trained)]
    assert len(rows) == 40 - 2 * len(shown)
    assert not shown & set(rows)


@pytest.mark.parametrize("leaks", ["refuse", "drop", "report"])
@pytest.mark.parametrize("off", ["the plan", "the step"])
def test_a_study_that_would_train_on_its_worked_examples_is_stopped(tmp_path, monkeypatch, off, leaks):
    if off == "the plan":
        monkeypatch.setattr(RowsPlan, "reserved", lambda *_: {})
    else:
        monkeypatch.setattr(prepare, "_without_reserved", lambda samples, *_: samples)
    raw = study({"k": 2}, data__leaks=leaks, evaluate={"plain": {"format": "plain"}})
    comparison = ran(tmp_path, monkeypatch, raw)
    assert comparison["holes"] == ["sft/plain"]
    [failure] = [path.read_text() for path in tmp_path.glob("store/check/*/failed.json")]
    assert "a worked example is among the training rows" in failure
    assert not list(tmp_path.glob("store/train/*/record.json"))


def with_file(folder, name, questions_, **fields):
    """A study whose worked examples are the user's."""
    rows = [{"question": q, "answer": "#### 7"} for q in questions_]
    if name.endswith(".csv"):
        lines = ["question,answer", *(f'"{row["question"]}",{row["answer"]}' for row in rows)]
        (folder / name).write_text("\n".join(lines) + "\n")
    else:
        text = json.dumps(rows) if name.endswith(".json") else "\n".join(map(json.dumps, rows))
        (folder / name).write_text(text)
    return study({"k": 2, "file": name}, **fields)


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.json", "mine.csv"])
def test_worked_examples_of_a_file_are_shown_in_order_and_kept_out_of_training(tmp_path, monkeypatch, name):
    raw = with_file(tmp_path, name, [*OWN, TRAIN[3], TRAIN[9]])
    assert ran(tmp_path, monkeypatch, raw)["holes"] == []
    [prompt, _] = prompts(tmp_path, "base-raw")
    assert prompt.index(OWN[0]) < prompt.index(OWN[1])
    assert OWN[2] not in prompt
    [trained] = without_few_shots(tmp_path)
    assert {row["fields"]["question"] for row in read_lines(trained)} == set(TRAIN) - {TRAIN[3], TRAIN[9]}


def test_a_file_is_known_by_its_content(tmp_path):
    def plan(name, own=OWN):
        return compiled(tmp_path, with_file(tmp_path, name, own)).scores["sft/raw"].fingerprint

    write(tmp_path / "train.jsonl", TRAIN)
    write(tmp_path / "test.jsonl", TEST)
    assert plan("a.jsonl") == plan("b.jsonl")
    assert plan("a.jsonl", OWN[:2]) != plan("b.jsonl")


def test_a_scored_question_in_a_file_of_worked_examples_is_refused(tmp_path, monkeypatch):
    raw = with_file(tmp_path, "mine.jsonl", [*OWN, TEST[1]])
    with pytest.raises(StepError, match=r"leak: 1 evaluation rows .*few_shots\.file"):
        ran(tmp_path, monkeypatch, raw)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"question": "One?", "answer": "#### 1"}\n', r"few_shots\.file .*: got 1 rows, expected at least k = 2"),
        ('{"question": "One?"}\n' * 2, r"few_shots\.file .*mine\.jsonl, row 1: no column 'answer'"),
        (None, r"mine\.jsonl: no such file"),
        ('{"task": "sst2", "fields": {}, "targets": []}\n' * 2, r"got examples of sst2, expected those of gsm8k"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_serve_is_refused_before_anything_runs(tmp_path, monkeypatch, text, expected):
    if text:
        (tmp_path / "mine.jsonl").write_text(text)
    with pytest.raises(StudyError, match=expected):
        ran(tmp_path, monkeypatch, study({"k": 2, "file": "mine.jsonl"}))


def test_the_results_hold_a_copy_that_follows_the_study_until_it_is_edited(tmp_path, monkeypatch, capsys):
    copy = tmp_path / "results" / "pool" / "few_shots" / "gsm8k-shots.jsonl"
    ran(tmp_path, monkeypatch, study({"k": 1, "of": 4}))
    first = read_lines(copy)
    assert not copy.is_symlink()
    assert [set(row) for row in first] == [{"question", "answer"}] * 4
    assert [row["question"] for row in first] == questions(tmp_path, "gsm8k-train-shots-*")
    ran(tmp_path, monkeypatch, study({"k": 1, "of": 4, "seed": 7}))
    assert read_lines(copy) != first
    assert capsys.readouterr().err == ""
    edited = copy.read_text().replace("#### 2", "It is #### 2")
    copy.write_text(edited)
    ran(tmp_path, monkeypatch, study({"k": 1, "of": 4}))
    assert copy.read_text() == edited
    assert capsys.readouterr().err.count("\n") == 1


def test_an_edited_copy_can_be_given_back(tmp_path, monkeypatch):
    raw = study({"k": 1, "of": 4})
    ran(tmp_path, monkeypatch, raw)
    copy = tmp_path / "results" / "pool" / "few_shots" / "gsm8k-shots.jsonl"
    copy.write_text(copy.read_text().replace("#### 2", "Surely #### 2"))
    [(_, again)] = read_study(str(tmp_path / "study.yaml"), [f"formats.shots.few_shots.file={copy}"])
    assert run(again, store=tmp_path / "store", results=tmp_path / "results")["holes"] == []
    assert any("Surely #### 2" in row["prompt"] for p in tmp_path.glob("store/generate/base-raw-*/outputs.jsonl")
               for row in read_lines(p))  # fmt: skip


def test_a_task_that_makes_its_rows_gives_samples_that_can_be_given_back(tmp_path, monkeypatch):
    (tmp_path / "echo.py").write_text(ECHO_TASK)
    raw = study({"k": 2, "of": 3}, task="./echo.py:Echo") | {"data": {}}
    assert ran(tmp_path, monkeypatch, raw)["holes"] == []
    copy = tmp_path / "results" / "pool" / "few_shots" / "echo-shots.jsonl"
    before = prompts(tmp_path, "base-raw")
    raw = put(raw, "formats.shots.few_shots", {"k": 2, "file": str(copy)})
    assert run(only(tmp_path, raw), store=tmp_path / "again", results=tmp_path / "results")["holes"] == []
    [path] = tmp_path.glob("again/generate/base-raw-*/outputs.jsonl")
    assert [row["prompt"] for row in read_lines(path)] == before


def test_variants_under_one_evaluation_see_equal_prompts(tmp_path, monkeypatch):
    raw = study({"k": 2, "of": 4}, train={**SFT, "shots": {"format": "shots", "max_steps": 1, "rows": 8}})
    assert ran(tmp_path, monkeypatch, raw)["holes"] == []
    seen = [prompts(tmp_path, f"{name}-raw") for name in ("base", "sft", "shots")]
    assert len(seen[0]) == len(TEST)
    assert seen[0] == seen[1] == seen[2]
