"""The store: complete exactly when ``record.json`` exists; damage is named, never repaired by deleting."""

import hashlib
import json
import re

import pytest
from engine_steps import OUT, copy_identity, fail_while, run, step, write, write_nested

from tunelab.canonical import fingerprint
from tunelab.engine.store import Store
from tunelab.errors import StoreError


def content(store):
    """Every file of a store."""
    return {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}


def refused(call, path):
    """Return the message of the StoreError that ``call`` raises: one line that starts with ``path``."""
    with pytest.raises(StoreError, match=rf"^{re.escape(str(path))}: got .*, expected .*; .+$") as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_step_is_complete_exactly_while_its_record_exists(store):
    one = step(write, "one")
    assert store.find(one) is None
    run(store, one)
    assert store.find(one).path(OUT).read_text() == "one()"
    (store.directory(one) / "record.json").unlink()
    assert store.find(one) is None
    _, events = run(store, one)
    assert events.started_names == ["one"]


def test_a_record_holds_identity_facts_and_the_checksum_of_every_result(store):
    one = step(write_nested, "one", settings={"rate": 0.1})
    run(store, one)
    record = store.find(one).record
    assert {name: entry.sha256 for name, entry in record.files.items()} == {
        name: hashlib.sha256(name.encode()).hexdigest() for name in ("model/record.json", "model/weights.bin", OUT)
    }
    assert record.files[OUT].bytes == len(OUT)
    assert (record.fingerprint, record.settings["rate"], record.facts["rows"]) == (one.fingerprint, 0.1, 3)
    assert record.attempts == 1


def test_identity_is_in_the_folder_before_the_step_does_anything(store):
    one = step(copy_identity, "one", settings={"rate": 0.1}, holes={"a": "", "b": "why"})
    run(store, one)
    found = json.loads(store.find(one).path(OUT).read_text())
    assert found == one.identity | {"fingerprint": one.fingerprint}
    assert found["inputs"] == {"a": None, "b": "missing: why"}
    assert fingerprint(found["kind"], found["version"], found["settings"], found["inputs"]) == one.fingerprint


def test_a_step_that_failed_can_still_be_explained(store, tmp_path):
    (tmp_path / "broken").touch()
    one = step(fail_while, "one", circumstance={"while": str(tmp_path / "broken")})
    run(store, one)
    assert list(store.identities()) == [(one.name, one.identity | {"fingerprint": one.fingerprint})]
    assert list(store.artifacts()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"abc"', "5", '{"files": {}}', "\xff"])
def test_a_corrupt_record_is_named_and_nothing_is_deleted(store, text):
    one = step(write, "one")
    run(store, one)
    path = store.directory(one) / "record.json"
    path.write_text(text, encoding="latin-1")
    before = content(store)
    message = refused(lambda: store.find(one), path)
    refused(lambda: list(store.artifacts()), path)
    assert message.endswith("the file is corrupt: move it away and run again")
    outcome, _ = run(store, one)
    assert list(outcome.messages.values()) == [message]
    assert content(store) == before


def test_a_record_that_cannot_be_read_is_named(store):
    one = step(write, "one")
    path = store.directory(one) / "record.json"
    path.mkdir(parents=True)
    assert "Is a directory" in refused(lambda: store.find(one), path)


@pytest.mark.parametrize("damage", ["", "one(", "ONE()"])
def test_a_damaged_result_stops_what_needs_it_and_nothing_is_deleted(store, damage):
    one, other = step(write, "one"), step(write, "other")
    run(store, one)
    path = store.directory(one) / OUT
    path.write_text(damage)
    message = refused(lambda: Store(store.root).open(one), path)
    assert message.endswith("delete the step's folder to run the step again")
    outcome, events = run(Store(store.root), step(write, "two", [one]), other)
    assert list(outcome.messages.values()) == [message]
    assert events.ended_states == {"one": "cached", "two": "failed", "other": "done"}
    assert path.read_text() == damage


def test_a_missing_result_is_named(store):
    one = step(write, "one")
    run(store, one)
    (store.directory(one) / OUT).unlink()
    refused(lambda: Store(store.root).open(one), store.directory(one) / OUT)
    with pytest.raises(StoreError, match=r"no file 'out\.txt', expected one of \['out\.txt'\]"):
        store.find(one).path(OUT)


def test_the_record_of_another_step_is_refused(store):
    one, two = step(write, "one"), step(write, "two")
    run(store, one, two)
    path = store.directory(two) / "record.json"
    path.write_bytes((store.directory(one) / "record.json").read_bytes())
    message = refused(lambda: store.find(two), path)
    assert one.fingerprint[:16] in message
    assert two.fingerprint[:16] in message
    assert "move it away" in message


@pytest.mark.parametrize("text", ['{"format": 2}', '{"format": "b"}', "{}", "[]"])
def test_a_store_of_a_newer_version_is_left_alone(store, text):
    run(store, step(write, "one"))
    (store.root / "store.json").write_text(text)
    before = content(store)
    assert "newer tunelab: upgrade, or choose another folder" in refused(
        lambda: Store(store.root), store.root / "store.json"
    )
    assert content(store) == before


def test_a_store_whose_own_file_is_corrupt_is_not_to_be_moved_away_as_a_whole(store):
    run(store, step(write, "one"))
    (store.root / "store.json").write_text("")
    message = refused(lambda: Store(store.root), store.root / "store.json")
    assert message.endswith("move it away and run again")
    assert str(store.root) + " " not in message


def test_a_step_that_another_study_calls_by_another_name_is_the_same_step(store):
    run(store, step(write, "one", settings={"name": "x"}))
    renamed = step(write, "two", settings={"name": "x"})
    outcome, events = run(store, step(write, "last", [renamed]))
    assert events.ended_states == {"two": "cached", "last": "done"}
    assert store.find(renamed).record.slug == "one"
    assert outcome.ok


def test_asking_for_a_step_that_never_ran_says_what_to_do(store):
    with pytest.raises(StoreError, match=r"^work/one-\w{8}: not finished, expected a record; run the study first$"):
        store.open(step(write, "one"))
