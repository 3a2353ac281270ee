"""Sources: what a split's rows are identified by, and one line of help within seconds where there are none."""

import os
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from tunelab.data.sources import BuiltinSource, Dataset, FileSource, HubSource, mirror_source, source_identity
from tunelab.errors import DataError

DATASET = Dataset("nobody/nothing", "main", "0" * 40, {"train": "train", "test": "validation"}, ("a",))
WAYS = ("(1)", "(2) TUNELAB_DATA=DIR with DIR/nobody/nothing/main/train.jsonl", "(3) data.files.<split>=FILE")
OFFLINE = """
import time
from tunelab.data.sources import Dataset, HubSource
from tunelab.errors import DataError
dataset = Dataset("nobody/nothing", "main", "0" * 40, {"train": "train"}, ("a",))
import datasets
start = time.monotonic()
try:
    HubSource(dataset).rows("train")
except DataError as error:
    print(round(time.monotonic() - start, 2), error)
import huggingface_hub.constants
assert huggingface_hub.constants.HF_HUB_OFFLINE
"""


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    folder = tmp_path / "nobody" / "nothing" / "main"
    folder.mkdir(parents=True)
    (folder / "validation.jsonl").write_text('{"a": 1}\n')
    monkeypatch.setenv("TUNELAB_DATA", str(tmp_path))
    return folder


def test_the_mirror_maps_the_tasks_split_to_the_hubs_name(mirror):
    source = mirror_source(DATASET)
    assert source is not None
    assert source.rows("test") == [{"a": 1}]


def test_a_split_that_the_mirror_lacks_is_named_with_its_place(mirror):
    source = mirror_source(DATASET)
    for ask in (source.identity, source.rows):
        with pytest.raises(DataError) as refused:
            ask("train")
        place = mirror / "train.jsonl"
        assert str(refused.value) == (
            f"mirror of nobody/nothing: the split 'train' is missing, expected {place} (TUNELAB_DATA); "
            "add the file or set data.source to hub: auto does not leave a mirror that holds other splits"
        )


def test_no_mirror_without_the_variable_or_the_data_set(mirror, monkeypatch):
    monkeypatch.setenv("TUNELAB_DATA", str(mirror))
    assert mirror_source(DATASET) is None
    monkeypatch.delenv("TUNELAB_DATA")
    assert mirror_source(DATASET) is None


def test_a_files_identity_is_its_content_and_not_its_place(tmp_path):
    first, moved = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_text('{"a": 1}\n')
    before = FileSource({"train": first}).identity("train")
    assert str(tmp_path) not in repr(before)
    first.rename(moved)
    assert FileSource({"train": moved}).identity("train") == before
    moved.write_text('{"a": 2}\n')
    assert FileSource({"train": moved}).identity("train") != before


def test_a_declared_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"data\.files\.train: .*gone\.jsonl is not a file"):
        FileSource({"train": tmp_path / "gone.jsonl"}).identity("train")


def test_builtin_rows_are_a_split_without_the_split_column():
    source = BuiltinSource("gsm8k")
    sizes = {split: len(source.rows(split)) for split in ("train", "test")}
    assert sizes == {"train": 12, "test": 8}
    assert all(set(row) == {"question", "answer"} for row in source.rows("train"))
    assert source.identity("train") != source.identity("test")
    with pytest.raises(DataError, match="no built-in rows for the split 'dev'"):
        source.rows("dev")
    with pytest.raises(DataError, match="ships no built-in rows"):
        BuiltinSource("arithmetic").identity("train")


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A datasets cache that holds the revision."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    (tmp_path / "nobody___nothing" / "main" / "0.0.0" / ("0" * 40)).mkdir(parents=True)


def test_the_hubs_identity_is_the_pinned_revision_and_needs_no_network(cached):
    assert HubSource(DATASET).identity("test") == {
        "hub": "nobody/nothing",
        "config": "main",
        "revision": "0" * 40,
        "split": "validation",
    }
    with pytest.raises(DataError, match=r"got 'tset', expected a declared split, or .*; did you mean 'test'"):
        HubSource(DATASET).identity("tset")


LANGUAGES = Dataset(
    "nobody/nothing",
    "main",
    "0" * 40,
    {"test_de": "test", "test_fr": "test", "all": "test"},
    ("a",),
    configs={"test_de": "de", "test_fr": "fr"},
    joins={"test": ("test_de", "test_fr"), "train": ("train_de", "test_de")},
)


@pytest.fixture
def languages(tmp_path, monkeypatch):
    for config in ("de", "fr", "main"):
        folder = tmp_path / "nobody" / "nothing" / config
        folder.mkdir(parents=True)
        (folder / "test.jsonl").write_text(f'{{"a": "{config}"}}\n')
    monkeypatch.setenv("TUNELAB_DATA", str(tmp_path))
    return tmp_path / "nobody" / "nothing"


def test_a_split_may_be_in_a_config_of_its_own(languages, tmp_path, monkeypatch):
    source = mirror_source(LANGUAGES)
    assert [source.rows(split)[0]["a"] for split in ("test_de", "test_fr", "all")] == ["de", "fr", "main"]
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    (tmp_path / "nobody___nothing" / "fr" / "0.0.0" / ("0" * 40)).mkdir(parents=True)
    assert HubSource(LANGUAGES).identity("test_fr")["config"] == "fr"
    with pytest.raises(DataError, match=r"nobody/nothing \(de, test\)"):
        HubSource(LANGUAGES).identity("test_de")


def test_a_split_that_joins_others_is_known_by_each_of_them(languages):
    source = mirror_source(LANGUAGES)
    before = source_identity(LANGUAGES, source, "test")
    assert before["parts"] == {part: source.identity(part) for part in ("test_de", "test_fr")}
    assert source_identity(LANGUAGES, source, "test_de") == source.identity("test_de")
    (languages / "fr" / "test.jsonl").write_text('{"a": "another"}\n')
    after = source_identity(LANGUAGES, source, "test")
    assert before["sha256"] != after["sha256"]
    assert before["parts"]["test_de"] == after["parts"]["test_de"]


def test_what_the_parts_of_a_joined_split_share_stands_once():
    builtin = source_identity(LANGUAGES, BuiltinSource("mmmlu"), "test")
    assert builtin["builtin"] == "mmmlu"
    assert builtin["sha256"] == builtin["parts"]["test_fr"]["sha256"]


def test_a_part_that_no_hub_has_may_come_from_a_file(tmp_path):
    with pytest.raises(DataError, match=r"got 'train_de', .* rows of your own as data\.files\.train_de=FILE"):
        source_identity(LANGUAGES, HubSource(LANGUAGES), "train")
    file = tmp_path / "mine.jsonl"
    file.write_text('{"a": 1}\n')
    found = source_identity(LANGUAGES, FileSource({"train_de": file, "test_de": file}), "train")
    assert list(found["parts"]) == ["train_de", "test_de"]


IN_PIECES = Dataset(
    "nobody/nothing", "all", "0" * 40, {"train": "train", "test": "test"}, ("a",), pieces={"all": ("left", "right")}
)


@pytest.fixture
def repository(tmp_path):
    """A data set as the hub keeps it, in a folder: the config ``all`` exists in two pieces only."""
    configs = []
    for config in ("left", "right", "other"):
        (tmp_path / f"{config}.jsonl").write_text(f'{{"a": "{config} 1"}}\n{{"a": "{config} 2"}}\n')
        configs.append(f"- config_name: {config}\n  data_files:\n  - {{split: train, path: {config}.jsonl}}\n")
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{''.join(configs)}---\n")
    return tmp_path


def test_pieces_of_a_config_are_read_one_after_the_other(repository, tmp_path_factory, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    whole = HubSource(replace(IN_PIECES, repo=str(repository)))
    assert [row["a"] for row in whole.rows("train")] == ["left 1", "left 2", "right 1", "right 2"]
    other = HubSource(replace(IN_PIECES, repo=str(repository), config="other"))
    assert [row["a"] for row in other.rows("train")] == ["other 1", "other 2"]


def test_a_config_in_pieces_is_known_by_all_of_them_and_needs_each_one(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    folder = tmp_path / "nobody___nothing"
    (folder / "left" / "0.0.0" / ("0" * 40)).mkdir(parents=True)
    with pytest.raises(DataError, match=r"nobody/nothing \(all, test\).*DIR/nobody/nothing/all/test\.jsonl"):
        HubSource(IN_PIECES).identity("test")
    (folder / "right" / "0.0.0" / ("0" * 40)).mkdir(parents=True)
    found = HubSource(IN_PIECES).identity("test")
    assert (found["config"], found["split"], found["pieces"]) == ("all", "test", ["left", "right"])
    swapped = replace(IN_PIECES, pieces={"all": ("right", "left")})
    assert HubSource(swapped).identity("test") != found


def test_a_mirror_has_a_config_whole_that_the_hub_has_in_pieces(tmp_path, monkeypatch):
    folder = tmp_path / "nobody" / "nothing" / "all"
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text('{"a": 1}\n')
    monkeypatch.setenv("TUNELAB_DATA", str(tmp_path))
    assert mirror_source(IN_PIECES).rows("test") == [{"a": 1}]


def offline(environment):
    """Ask for hub rows in a process of its own: whether the hub answers is found out once a process."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and not k.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE], env=inherited | environment, capture_output=True, text=True, check=True
    )
    seconds, _, message = done.stdout.partition(" ")
    return float(seconds), message


@pytest.fixture
def silent_port():
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("declared", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}, {}])
def test_without_a_hub_there_is_an_answer_within_seconds_that_names_the_three_ways(declared, silent_port, tmp_path):
    endpoint = {"HF_ENDPOINT": f"http://127.0.0.1:{silent_port}", "HF_HOME": str(tmp_path)}
    seconds, message = offline(endpoint | declared)
    assert seconds < 5
    assert message.startswith("dataset nobody/nothing (main, train): the hub cannot be reached")
    assert all(way in message for way in WAYS)
    assert message.count("\n") == 1


def test_planning_does_not_wait_for_the_hub_and_says_what_is_missing():
    start = time.monotonic()
    with pytest.raises(DataError, match="TUNELAB_DATA"):
        HubSource(DATASET).identity("train")
    assert time.monotonic() - start < 1
