"""A local model is what loading would read from its folder, and is read once a process."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from tunelab import files
from tunelab.models.spec import is_local, resolve


@pytest.fixture
def model(tmp_path):
    """A copy of the tiny model with an adapter beside it."""
    folder = tmp_path / "model"
    shutil.copytree(Path(resolve("tiny").location), folder)
    (folder / "adapter_config.json").write_text("{}")
    return folder


def identity(folder):
    return resolve(str(folder)).identity


@pytest.mark.parametrize(
    "name",
    [
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        "training_args.bin",
        "trainer_state.json",
        "README.md",
        "checkpoint-10/model.safetensors",
        "runs/events.out.tfevents",
        ".gitattributes",
    ],
)
def test_files_that_loading_does_not_read_change_no_identity(model, name):
    before = identity(model)
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_bytes(b"anything")
    assert identity(model) == before


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "tokenizer.json",
        "tokenizer_config.json",
        "tokenizer.model",
        "special_tokens_map.json",
        "vocab.txt",
        "merges.txt",
        "chat_template.jinja",
        "additional_chat_templates/tool_use.jinja",
        "adapter_config.json",
        "adapter_model.safetensors",
    ],
)
def test_files_that_loading_reads_change_the_identity(model, name):
    before = identity(model)
    (model / name).parent.mkdir(exist_ok=True)
    with (model / name).open("ab") as file:
        file.write(b" ")
    assert identity(model) != before


def test_a_file_is_read_again_only_when_its_size_or_time_changed(tmp_path, monkeypatch):
    read = []
    compute = files.sha256_file
    monkeypatch.setattr(files, "sha256_file", lambda path: read.append(path.name) or compute(path))
    path = tmp_path / "weights"
    path.write_text("one")
    digests = [files.known_sha256(path), files.known_sha256(path)]
    path.write_text("two")
    os.utime(path, ns=(1, 1))
    digests.append(files.known_sha256(path))
    assert read == ["weights", "weights"]
    assert digests == [hashlib.sha256(text).hexdigest() for text in (b"one", b"one", b"two")]


@pytest.mark.parametrize(
    ("name", "local"),
    [("owner/name", False), ("owner/name@refs/pr/1", False), ("name", False), ("results/a/checkpoints/step_9", True),
     ("./name", True), ("here", True), ("tiny", False)],
)  # fmt: skip
def test_a_name_is_a_folder_where_it_looks_like_a_path_or_there_is_one(tmp_path, name, local):
    (tmp_path / "here").mkdir()
    (tmp_path / "tiny").mkdir()
    assert is_local(name, tmp_path) is local
