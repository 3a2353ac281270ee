"""A result stands for the content of its inputs: made of other bytes, it is no result, and no place to resume from."""

import json
import shutil

import pytest
from engine_steps import OUT, ROWS, Events, copy, fail_while, grow, run, starts, step, write, write_rows

from tunelab.engine.plan import plan, settled
from tunelab.engine.runner import Runner
from tunelab.engine.store import Store
from tunelab.errors import StoreError
from tunelab.files import read_lines, write_lines


@pytest.fixture
def source(tmp_path):
    """What the first step of these tests writes."""
    path = tmp_path / "source"
    path.write_text("old")
    return path


@pytest.fixture
def graph(source, tmp_path):
    """Three steps in a row; the first may write something else when it is run again."""
    first = step(copy, "first", circumstance={"source": str(source), "log": str(tmp_path / "log")})
    second = step(write, "second", [first], circumstance={"log": str(tmp_path / "log")})
    return first, second, step(write, "third", [second], circumstance={"log": str(tmp_path / "log")})


def again(store, *targets):
    """Run in what is a new process to the store; return how the steps ended."""
    return run(Store(store.root), *targets)[1].ended_states


def contents(store, one):
    """What a step's record says that its inputs held."""
    return store.find(one).record.contents


def test_what_was_made_of_another_content_is_made_again(store, graph, source):
    first, second, third = graph
    run(store, third)
    source.write_text("new")
    shutil.rmtree(store.directory(first))
    assert again(store, third) == {"first": "done", "second": "done", "third": "done"}
    assert store.open(third).path(OUT).read_text() == "third(second(new))"
    assert contents(store, second) == {"first": store.find(first).record.content}


def test_an_input_that_comes_back_as_it_was_changes_nothing(store, graph, tmp_path):
    run(store, graph[2])
    shutil.rmtree(store.directory(graph[0]))
    assert plan([graph[2]], store).counts() == {"cached": 2, "to_run": 1, "blocked": 0}
    assert again(store, graph[2]) == {"first": "done", "second": "cached", "third": "cached"}
    assert starts(tmp_path / "log") == ["first", "second", "third", "first"]


def test_a_content_is_the_names_and_the_bytes_of_all_files(store, source):
    found = {}
    for text in ("old", "new", "old"):
        source.write_text(text)
        for name in "ab":
            one = step(copy, name, circumstance={"source": str(source)})
            run(store, one)
            found.setdefault(text, set()).add(store.find(one).record.content)
            shutil.rmtree(store.directory(one))
    assert {text: len(digests) for text, digests in found.items()} == {"old": 1, "new": 1}
    assert found["old"] != found["new"]


def test_the_plan_and_readers_know_of_a_changed_input_before_anything_runs(store, graph, source):
    first, second, third = graph
    run(store, third)
    source.write_text("new")
    shutil.rmtree(store.directory(first))
    run(store, first)
    fresh = Store(store.root)
    assert fresh.find(second) is None
    reasons = {p.step.slug: (p.status.value, p.reason) for p in plan([third], fresh).steps}
    assert reasons["second"] == ("to_run", "first has changed since")
    held, why = settled([third], fresh)
    assert list(held) == [first.fingerprint]
    assert why[third.fingerprint] == f"needs {second.name}"


def test_an_open_store_sees_a_record_that_was_replaced(store, graph, source):
    first, second, _ = graph
    run(store, second)
    assert store.find(second) is not None
    source.write_text("new")
    other = Store(store.root)
    other.set_aside(first)
    run(other, first)
    assert store.find(second) is None


def test_older_results_are_moved_as_a_whole_and_lost_to_nobody(store, graph, source):
    first, _, third = graph
    run(store, third)
    source.write_text("new")
    shutil.rmtree(store.directory(first))
    again(store, third)
    moved = sorted(path.relative_to(store.root).parts[:2] for path in store.root.glob("replaced/*/*"))
    assert moved == [("replaced", "work"), ("replaced", "work")]
    texts = {path.read_text() for path in store.root.glob(f"replaced/work/*/{OUT}")}
    assert texts == {"second(old)", "third(second(old))"}
    assert len(list(Store(store.root).artifacts())) == len(list(Store(store.root).identities())) == 3


@pytest.mark.parametrize("state", ["finished", "half"])
def test_rows_that_were_made_of_another_content_are_never_resumed_from(store, source, tmp_path, state):
    """What a kill left half done is no better than what is finished."""
    first = step(write_rows, "first", circumstance={"source": str(source)})
    second = step(grow, "second", [first], circumstance={"pause": 0})
    source.write_text("3")
    run(store, second)
    if state == "half":
        (store.directory(second) / "record.json").unlink()
        rows = read_lines(store.directory(second) / "rows.jsonl")
        write_lines(store.directory(second) / "rows.jsonl", rows[:2])
    source.write_text("5")
    shutil.rmtree(store.directory(first))
    again(store, second)
    rows = read_lines(store.directory(second) / "rows.jsonl")
    assert [row["above"] for row in rows] == [5] * ROWS


def test_what_was_running_while_its_input_changed_is_made_again(store, source):
    first = step(write_rows, "first", circumstance={"source": str(source)})
    second = step(grow, "second", [first], circumstance={"pause": 0})
    source.write_text("3")
    run(store, first)

    class Replacing(Events):
        def progressed(self, step, done, total, unit):
            if done == 2:
                source.write_text("5")
                other = Store(store.root)
                other.set_aside(first)
                run(other, first)

    Runner(store, Replacing()).run([second])
    assert store.find(second) is None
    again(store, second)
    assert [row["above"] for row in read_lines(store.open(second).path("rows.jsonl"))] == [5] * ROWS


def test_what_a_kill_left_of_the_same_content_is_resumed_from(store, source):
    first = step(write_rows, "first", circumstance={"source": str(source)})
    second = step(grow, "second", [first], circumstance={"pause": 0})
    source.write_text("3")
    run(store, second)
    (store.directory(second) / "record.json").unlink()
    rows = read_lines(store.directory(second) / "rows.jsonl")
    write_lines(store.directory(second) / "rows.jsonl", [{**row, "kept": True} for row in rows[:2]])
    shutil.rmtree(store.directory(first))
    again(store, second)
    assert [row.get("kept") for row in read_lines(store.directory(second) / "rows.jsonl")] == [True] * 2 + [None] * 4


def test_what_failed_over_another_content_begins_anew(store, graph, source, tmp_path):
    first = graph[0]
    broken = tmp_path / "broken"
    broken.touch()
    bad = step(fail_while, "bad", [first], circumstance={"while": str(broken)})
    run(store, bad)
    assert (store.directory(bad) / "scratch" / "checkpoint").exists()
    source.write_text("new")
    shutil.rmtree(store.directory(first))
    again(store, bad)
    [moved] = store.root.glob("replaced/work/bad-*")
    assert (moved / "scratch" / "checkpoint").exists()
    assert json.loads((store.directory(bad) / "inputs.json").read_text()) == {"first": store.find(first).record.content}


def test_a_record_without_digests_is_trusted(store, graph, source):
    first, second, third = graph
    run(store, third)
    for one in (second, third):
        path = store.directory(one) / "record.json"
        older = json.loads(path.read_text())
        del older["contents"]
        path.write_text(json.dumps(older))
    source.write_text("new")
    shutil.rmtree(store.directory(first))
    assert again(store, third) == {"first": "done", "second": "cached", "third": "cached"}


def test_a_step_that_another_process_runs_is_not_set_aside(store, graph):
    first = graph[0]
    held = store.claim(first)
    with pytest.raises(StoreError, match="is being run by another process, expected it at rest; wait, or stop it"):
        Store(store.root).set_aside(first)
    held.release()
    assert Store(store.root).set_aside(first).is_dir()
    assert not store.directory(first).exists()
