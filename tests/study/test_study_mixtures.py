"""Studies over several tasks: rows are mixed once, taught by their own task, and a learning rate may be searched."""

import json

import pytest
from study_files import ECHO_TASK, STUDY, changed, compiled, kinds, put

from tunelab.engine.plan import topological
from tunelab.errors import StudyError
from tunelab.study.api import run
from tunelab.study.read import read_study
from tunelab.study.smoke import smoke

SHOUT_TASK = ECHO_TASK.replace('"echo"', '"shout"').replace("Echo", "Shout").replace('(f"{i}",)', '(f"{i}!",)')
BOTH = ["./echo.py:Echo", "./shout.py:Shout"]


def mixed(tmp_path, **fields):
    """A study that trains on two tasks of the user's and evaluates on both."""
    (tmp_path / "echo.py").write_text(ECHO_TASK)
    (tmp_path / "shout.py").write_text(SHOUT_TASK)
    raw = changed(
        task=None,
        train={"both": {"task": BOTH, "format": "chat", "loss": "completion", "rows": 24}},
        evaluate={"echo": {"task": BOTH[0], "format": "chat"}, "shout": {"task": BOTH[1], "format": "chat"}},
        evaluation={"rows": 8},
    )
    for path, value in fields.items():
        raw = put(raw, path.replace("__", "."), value)
    return raw


def ran(tmp_path, monkeypatch, raw):
    """Run a study in its folder; return its comparison and its records by kind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(json.dumps(raw))
    [(_, study)] = read_study("study.yaml")
    comparison = run(study)
    records = [json.loads(p.read_text()) for p in sorted(tmp_path.glob(".tunelab/*/*/record.json"))]
    return comparison, {kind: [r for r in records if r["kind"] == kind] for kind in {r["kind"] for r in records}}


def test_several_tasks_are_mixed_in_one_step_and_trained_once(tmp_path):
    found = compiled(tmp_path, mixed(tmp_path))
    assert kinds(found) == {
        "prepare": 4, "mix": 1, "check": 1, "train": 1, "generate": 4, "score": 4, "compare": 1, "report": 1,
    }  # fmt: skip


def test_a_weight_of_a_group_is_shared_by_its_tasks(tmp_path):
    settings = {"rule": "ratio", "weights": {"loud": 3, "quiet": 1}}
    raw = mixed(tmp_path, tasks={"loud": BOTH[1:], "quiet": BOTH[:1]}, train__both__mixture=settings)
    [mix] = [s for s in topological([compiled(tmp_path, raw).report]) if s.kind == "mix"]
    assert mix.settings["weights"] == {BOTH[1]: 0.75, BOTH[0]: 0.25}
    doubled = put(raw, "train.both.mixture.weights", {"loud": 6, "quiet": 2})
    [again] = [s for s in topological([compiled(tmp_path, doubled).report]) if s.kind == "mix"]
    assert again.fingerprint == mix.fingerprint
    raw = mixed(tmp_path, tasks={"all": BOTH}, train__both__mixture={"rule": "ratio", "weights": {"all": 3}})
    [mix] = [s for s in topological([compiled(tmp_path, raw).report]) if s.kind == "mix"]
    assert mix.settings["weights"] == {BOTH[0]: 0.5, BOTH[1]: 0.5}


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"./echo.py:Echo": 1}, "shout.py:Shout has none"),
        ({"al": 1}, "got 'al', expected a task of .* or a group of them.*did you mean 'all'"),
        ({"all": 1, "./echo.py:Echo": 1}, "echo.py:Echo has two weights"),
    ],
)
def test_weights_speak_of_every_task_once(tmp_path, weights, expected):
    raw = mixed(tmp_path, tasks={"all": BOTH}, train__both__mixture={"rule": "ratio", "weights": weights})
    with pytest.raises(StudyError, match=expected):
        compiled(tmp_path, raw)


def test_worked_examples_are_refused_for_a_mixture(tmp_path):
    with pytest.raises(StudyError, match=r"few_shots: got 2 for the mixture .* expected 0"):
        compiled(tmp_path, mixed(tmp_path, formats__chat__few_shots={"k": 2}))


@pytest.mark.parametrize("method", ["sft", "grpo"])
def test_a_mixture_is_trained_and_each_row_is_taught_and_scored_by_its_own_task(tmp_path, monkeypatch, method):
    raw = mixed(tmp_path, train__both__method=method, train__both__grpo={"num_generations": 2}, recipe__max_steps=2)
    comparison, records = ran(tmp_path, monkeypatch, raw)
    assert not comparison["holes"]
    [mix], [train] = records["mix"], records["train"]
    sources = mix["facts"]["receipt"]["sources"]
    assert {name: s["rows"] for name, s in sources.items()} == dict.fromkeys(BOTH, 24)
    if method == "sft":
        by_task = train["facts"]["receipt"]["sources"]
        assert {name: s["rows"] for name, s in by_task.items()} == dict.fromkeys(BOTH, 24)
        assert sum(s["tokens"] for s in by_task.values()) == train["facts"]["receipt"]["tokens"]
        assert sum(s["supervised_tokens"] for s in by_task.values()) == train["facts"]["receipt"]["supervised_tokens"]
    else:
        assert train["settings"]["reward"]["scorer"]["members"][1]["name"] == "shout"


def test_a_searched_learning_rate_is_chosen_on_rows_of_its_own(tmp_path, monkeypatch):
    raw = put(STUDY, "train", {"sft": {"format": "chat", "loss": "completion", "rows": 320}})
    raw = put(put(raw, "evaluate", {"chat": {"format": "chat"}}), "recipe.batch_size", 16)
    raw = put(raw, "recipe.lr", {"search": [1e-7, 3e-4], "on": "validation", "rows": 40})
    comparison, records = ran(tmp_path, monkeypatch, raw)
    [select] = records["select"]
    search = select["facts"]["search"]
    assert search["chosen"] == 3e-4
    assert [c["candidate"] for c in search["candidates"]] == [1e-7, 3e-4]
    assert search["candidates"][1]["mean"] > search["candidates"][0]["mean"]
    assert {c["variant"] for c in comparison["cells"]} == {"base", "sft"}
    chosen = next(r for r in records["train"] if r["settings"]["recipe"]["lr"] == 3e-4)
    assert select["files"]["model/model.safetensors"] == chosen["files"]["model/model.safetensors"]


def test_rows_that_choose_a_learning_rate_are_in_no_training(tmp_path, monkeypatch):
    raw = put(STUDY, "train", {"sft": {"format": "chat", "loss": "completion", "rows": None, "max_steps": 1}})
    raw = put(put(raw, "evaluate", {"chat": {"format": "chat", "rows": 8}}), "task", "./echo.py:Echo")
    raw = put(raw, "recipe.lr", {"search": [1e-5, 1e-4], "on": "validation", "rows": 30})
    (tmp_path / "echo.py").write_text(ECHO_TASK)
    ran(tmp_path, monkeypatch, raw)
    rows = {}
    for path in tmp_path.glob(".tunelab/prepare/echo-train-*/rows.jsonl"):
        found = {json.loads(line)["id"] for line in path.read_text().splitlines()}
        rows[len(found)] = found
    assert set(rows) == {30, 170}
    assert rows[30] & rows[170] == set()


@pytest.mark.parametrize("leaks", ["drop", "report"])
def test_leaks_are_looked_for_across_tasks(tmp_path, monkeypatch, leaks):
    raw = put(mixed(tmp_path, data__leaks=leaks, recipe__max_steps=1), "train.both.rows", None)
    raw["evaluate"]["shout"]["split"] = "train"
    _, records = ran(tmp_path, monkeypatch, raw)
    receipts = [r["facts"]["receipt"] for r in records["prepare"] if "dropped_as_leaks" in r["facts"]["receipt"]]
    if leaks == "drop":
        assert {len(r["dropped_as_leaks"]) for r in receipts} == {8}
    else:
        assert not receipts
        assert records["check"][0]["facts"]["leaks"]["exact"] == 8


def test_a_learning_rate_is_chosen_in_the_way_that_the_task_is_answered(tmp_path):
    train = {"sst2": {"format": "chat", "loss": "all", "lr": {"search": [0.1, 0.2], "on": "validation", "rows": 4}}}
    found = compiled(tmp_path, put(put(changed(task="sst2"), "train", train), "data.source", "builtin"))
    answered = [s.settings.get("by") for s in topological([found.train["sst2"]]) if s.kind == "generate"]
    assert answered == ["choose", "choose"]


def test_a_tree_names_tasks_that_there_are(tmp_path):
    with pytest.raises(StudyError, match="task: got 'nope', expected a task"):
        compiled(tmp_path, mixed(tmp_path, tasks={"loud": [BOTH[1]], "quiet": [BOTH[0], "nope"]}))


def test_other_shares_of_the_same_tasks_are_other_training_data(tmp_path):
    both = mixed(tmp_path)["train"]["both"]
    ratio = {"rule": "ratio", "weights": {BOTH[0]: 3, BOTH[1]: 1}}
    raw = mixed(tmp_path, train={"even": both, "uneven": both | {"mixture": ratio}})
    data = {c["variant"]: c["factors"]["trained_on"] for c in compiled(tmp_path, raw).compare.settings["cells"]}
    joint = " + ".join(BOTH)
    assert (data["even"], data["uneven"]) == (joint, f"{joint} (rule ratio, {BOTH[0]}:3, {BOTH[1]}:1)")


def test_a_smoke_run_leaves_out_rows_that_its_model_has_no_room_for(tmp_path, monkeypatch):
    long = ECHO_TASK.replace('(f"{i}",)', '(f"{i}" * (9000 if i % 2 else 1),)')
    (tmp_path / "echo.py").write_text(long)
    evaluate = {"chat": {"format": "chat"}}
    (tmp_path / "study.yaml").write_text(json.dumps(changed(task=BOTH[0], train={}, evaluate=evaluate)))
    monkeypatch.chdir(tmp_path)
    [(_, study)] = read_study("study.yaml")
    [cell] = run(smoke(study))["cells"]
    [receipt] = [json.loads(path.read_text()) for path in tmp_path.glob(".tunelab/prepare/*/receipt.json")]
    assert receipt["left_out_as_long"] == receipt["available"] // 2
    assert cell["n"] == receipt["rows"] > 0


def searching(tmp_path, leaks):
    """A study that chooses a learning rate on rows of the split that it is scored on."""
    (tmp_path / "echo.py").write_text(ECHO_TASK)
    search = {"search": [1e-5, 1e-4], "on": "validation", "rows": 30}
    train = {"sft": {"format": "chat", "loss": "completion", "rows": 40, "max_steps": 1, "lr": search}}
    raw = changed(task=BOTH[0], train=train, evaluate={"chat": {"format": "chat", "rows": 90, "split": "train"}})
    return put(raw, "data.leaks", leaks)


def test_scored_rows_do_not_choose_a_learning_rate_where_leaks_are_dropped(tmp_path, monkeypatch):
    ran(tmp_path, monkeypatch, searching(tmp_path, "drop"))
    found = [
        {json.loads(line)["id"] for line in path.read_text().splitlines()}
        for path in tmp_path.glob(".tunelab/prepare/echo-train-*/rows.jsonl")
    ]
    scored, trained, held = sorted(found, key=len, reverse=True)
    assert (len(scored), len(trained), len(held)) == (90, 40, 30)
    assert not scored & trained
    assert not scored & held
    assert not trained & held


def test_scored_rows_that_would_choose_a_learning_rate_stop_a_study_that_refuses_leaks(tmp_path):
    found = compiled(tmp_path, searching(tmp_path, "refuse"))
    training = [s for s in topological([found.train["sft"]]) if s.kind == "train"]
    for step in training:
        [of_rows, of_held] = step.after
        [held] = [s for name, s in of_held.inputs.items() if name.startswith("seen_")]
        assert held.settings["rows"] == 30
        assert held.fingerprint in {s.fingerprint for name, s in of_rows.inputs.items() if name.startswith("eval")}
        [scored] = [s for name, s in of_held.inputs.items() if name.startswith("evaluation_")]
        assert scored.settings["rows"] == 90
