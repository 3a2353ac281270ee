"""The T5 that is made on the spot: the same everywhere, small, and written once."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from tunelab.errors import ModelError
from tunelab.files import sha256_file
from tunelab.models.kind import declared_kind
from tunelab.models.load import load_kind, load_model, load_tokenizer
from tunelab.models.spec import known_config, resolve
from tunelab.models.tiny_t5 import made, weights_of

BUNDLED = Path(resolve("tiny").location)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNELAB_CACHE", str(tmp_path / "cache"))


def test_it_is_the_same_wherever_it_is_made(tmp_path):
    folders = [made(tmp_path / name, BUNDLED) for name in ("a", "b")]
    one, other = ({p.name: sha256_file(p) for p in folder.iterdir()} for folder in folders)
    assert one == other
    first = 0.5488135039273248  # the Mersenne Twister's first number in [0, 1) from seed 0
    assert float(weights_of(0)["shared.weight"][0, 0]) == pytest.approx(3**0.5 * (2 * first - 1))
    assert not np.array_equal(weights_of(0)["shared.weight"], weights_of(1)["shared.weight"])


def test_it_is_identified_by_its_content(tmp_path, monkeypatch):
    first = resolve("tiny-t5")
    monkeypatch.setenv("TUNELAB_CACHE", str(tmp_path / "elsewhere"))
    again = resolve("tiny-t5")
    assert again.location != first.location
    assert again.identity == first.identity
    (Path(again.location) / "config.json").write_text("{}")
    assert resolve("tiny-t5").identity != first.identity


def test_it_loads_whole_with_fewer_than_half_a_million_parameters():
    ref = resolve("tiny-t5")
    model = load_model(ref, "cpu", "fp32")
    assert sum(weight.numel() for weight in model.parameters()) == 263_168
    for name, weight in weights_of(0).items():
        assert torch.equal(dict(model.named_parameters())[name], torch.from_numpy(weight))
    assert model.generation_config.decoder_start_token_id == 0


def test_its_tokenizer_ends_every_text_and_has_no_chat_template():
    tokenizer = load_tokenizer(resolve("tiny-t5"))
    ids = tokenizer("What is 2 + 2?")["input_ids"]
    assert tokenizer.decode(ids) == "What is 2 + 2?</s>"
    assert (ids[-1], tokenizer.eos_token, tokenizer.pad_token) == (tokenizer.eos_token_id, "</s>", "<pad>")
    assert tokenizer.chat_template is None


def test_many_at_once_make_one(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(lambda _: made(tmp_path / "many", BUNDLED), range(8)))
    assert len(folders) == 1
    assert [path.name for path in (tmp_path / "many").iterdir()] == [folders.pop().name]


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TUNELAB_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"cannot be written to .*; set TUNELAB_CACHE to a folder that can be$"):
        resolve("tiny-t5")


def test_the_kind_of_a_model_is_known_from_its_configuration_without_loading_it():
    kinds = {name: declared_kind(known_config(resolve(name)) or {}) for name in ("tiny", "tiny-t5")}
    assert kinds == {"tiny": "causal", "tiny-t5": "encoder-decoder"}
    assert {name: load_kind(resolve(name)) for name in kinds} == kinds


def test_a_configuration_that_does_not_say_its_kind_is_known_by_its_type(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mt5"}))
    config = known_config(resolve(str(tmp_path)))
    assert config is not None
    assert declared_kind(config) == "encoder-decoder"


def test_making_it_imports_no_torch():
    code = "import sys; from tunelab.models.spec import resolve; resolve('tiny-t5'); print({'torch'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
