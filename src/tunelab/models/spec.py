"""What a model's name in a study means, without importing torch.

``tiny`` is the bundled model, ``tiny-t5`` one that is made on the spot, a path is a local folder, anything else is a
hub id with an optional revision (``owner/name@revision``). The identity is the commit for the last, else the content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from tunelab.data.downloads import CACHE_VARIABLE, cache_root
from tunelab.data.hub import cached_file, model_revision
from tunelab.errors import ModelError
from tunelab.files import known_sha256, read_json
from tunelab.models import tiny_t5

TINY, TINY_T5 = "tiny", "tiny-t5"
BUNDLED = (TINY, TINY_T5)
LOADED = (
    "*.json",
    "*.safetensors",
    "pytorch_model*.bin",
    "adapter_model*.bin",
    "*.model",
    "*.txt",
    "*.tiktoken",
    "*.jinja",
    "additional_chat_templates/*.jinja",
)
"""Configuration, weights, tokenizer, chat templates and adapters, as ``from_pretrained`` looks for them."""
OF_TOKENIZERS = tuple(pattern for pattern in LOADED if not pattern.endswith((".safetensors", ".bin")))
"""The same without weights, which a tokenizer does not need and which take long to read."""
NOT_LOADED = ("trainer_state.json", "all_results.json", "train_results.json", "eval_results.json")


@dataclass(frozen=True)
class ModelRef:
    """A model that can be loaded: ``location`` is a folder or a hub id, ``identity`` is what it is."""

    name: str
    location: str
    revision: str | None
    identity: dict[str, Any]


def resolve(name: str, folder: Path | None = None) -> ModelRef:
    """Find a model by name; a relative path starts in ``folder``, by default the current one.

    Raises ModelError when it is nowhere; takes seconds at most.
    """
    if name == TINY:
        return _tiny()
    if name == TINY_T5:
        return _tiny_t5()
    folder = folder or Path.cwd()
    if is_local(name, folder):
        return _local(name, folder / Path(name).expanduser())
    repo, _, revision = name.partition("@")
    commit = model_revision(repo, revision or "main")
    return ModelRef(name, repo, commit, {"hub": repo, "revision": commit})


def resolve_tokenizer(name: str, folder: Path | None = None) -> ModelRef:
    """Find a tokenizer as ``resolve`` finds a model; of a local folder only its files are needed.

    Raises ModelError, also for a folder that does not say which class reads its vocabulary: the same words and merges
    are cut differently by different classes.
    """
    folder = folder or Path.cwd()
    path = folder / Path(name).expanduser()
    if name == TINY or not is_local(name, folder):
        return resolve(name, folder)
    if not any((path / file).is_file() for file in ("tokenizer.json", "tokenizer_config.json", "config.json")):
        raise ModelError(
            f"tokenizer {name!r}: {path} has none of tokenizer.json, tokenizer_config.json and config.json, which say "
            'how words are cut, as a vocabulary does not; add a tokenizer_config.json {"tokenizer_class": "X"}'
        )
    return ModelRef(name, str(path.resolve()), None, {"folder": content_of(path, OF_TOKENIZERS)})


def is_local(name: str, folder: Path) -> bool:
    """Say whether a name means a folder on this machine: it looks like a path, or is one from ``folder``.

    A hub id has one stroke at most, so a name with more of them is a folder even where none is there.
    """
    path_like = name.startswith((".", "/", "~")) or name.partition("@")[0].count("/") > 1
    return path_like or (name not in BUNDLED and (folder / name).exists())


def known_file(ref: ModelRef, name: str) -> Path | None:
    """Return a file of a model that can be read without a network, else None."""
    path = cached_file(ref.location, name, ref.revision) if ref.revision else Path(ref.location, name)
    return path if path is not None and path.is_file() else None


def known_config(ref: ModelRef) -> dict[str, Any] | None:
    """Return a model's configuration where it can be read without a network, else None."""
    if (path := known_file(ref, "config.json")) is None:
        return None
    try:
        return read_json(path)
    except ValueError:
        return None  # loading says what is wrong with it


def _tiny_folder() -> Path:
    return Path(str(resources.files("tunelab.models"))) / "tiny"


def _tiny() -> ModelRef:
    folder = _tiny_folder()
    files = json.loads((folder / "manifest.json").read_text())["files"]
    return ModelRef(TINY, str(folder), None, {"bundled": TINY, "files": files})


def _tiny_t5() -> ModelRef:
    root = cache_root() / "models"
    try:
        folder = tiny_t5.made(root, _tiny_folder())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ModelError(
            f"model {TINY_T5!r}: cannot be written to {root} ({reason}); set {CACHE_VARIABLE} to a folder that can be"
        ) from error
    return ModelRef(TINY_T5, str(folder), None, {"made": TINY_T5, "files": content_of(folder)})


def _local(name: str, path: Path) -> ModelRef:
    if not (path / "config.json").is_file():
        raise ModelError(f"model {name!r}: {path} has no config.json, expected a folder made by save_pretrained")
    return ModelRef(name, str(path.resolve()), None, {"folder": content_of(path)})


def content_of(path: Path, patterns: Sequence[str] = LOADED) -> str:
    """Return a hash of the files of a folder that loading reads, 64 hex digits."""
    digest = hashlib.sha256()
    for file in sorted({p for pattern in patterns for p in path.glob(pattern) if p.name not in NOT_LOADED}):
        digest.update(f"{file.relative_to(path)} {known_sha256(file)}\n".encode())
    return digest.hexdigest()
