"""Checkpoints from elsewhere: an adapter or a whole model, in a folder or on the hub, taken as it is.

The identity is the content of a folder and the commit of a hub id, like a model's. What a checkpoint says of itself
is held against what the study says of it; where the two differ it is told, since only the author can know better.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from tunelab.data.hub import model_revision
from tunelab.errors import ModelError
from tunelab.files import read_json
from tunelab.models.spec import LOADED, NOT_LOADED, ModelRef, content_of, is_local

Holds = Literal["adapter", "model"]

WEIGHTS = {"adapter": ("adapter_model*.safetensors", "adapter_model*.bin"), "model": ("*.safetensors", "*.bin")}
CONFIGS: dict[Holds, str] = {"adapter": "adapter_config.json", "model": "config.json"}


def resolve_checkpoint(name: str, folder: Path) -> ModelRef:
    """Find a checkpoint by path, from ``folder`` on, or by hub id with an optional revision. Raises ModelError."""
    if is_local(name, folder):
        path = (folder / Path(name).expanduser()).resolve()
        what_it_holds(path)
        return ModelRef(name, str(path), None, {"folder": content_of(path)})
    repo, _, revision = name.partition("@")
    try:
        commit = model_revision(repo, revision or "main")
    except ModelError as error:
        raise ModelError(f"from_checkpoint: got {name!r}, which is no folder from {folder}; {error}") from None
    return ModelRef(name, repo, commit, {"hub": repo, "revision": commit})


def what_it_holds(folder: Path) -> Holds:
    """Say whether a folder holds an adapter or a whole model. Raises ModelError where it holds neither."""
    for holds, config in CONFIGS.items():
        if not (folder / config).is_file():
            continue
        if not any(path for pattern in WEIGHTS[holds] for path in folder.glob(pattern)):
            raise ModelError(f"from_checkpoint: {folder} has {config} and no weights, expected {WEIGHTS[holds][0]}")
        return holds
    found = "nothing" if not folder.is_dir() else "neither adapter_config.json nor config.json"
    raise ModelError(f"from_checkpoint: {folder} holds {found}, expected a trained adapter or a whole model")


def fetch(ref: ModelRef, target: Path) -> None:
    """Copy a checkpoint's configuration, weights and tokenizer into ``target``. Raises ModelError."""
    source = _downloaded(ref) if ref.revision else Path(ref.location)
    target.mkdir(parents=True, exist_ok=True)
    for pattern in LOADED:
        for path in source.glob(pattern):
            if path.name not in NOT_LOADED and path.parent == source:
                shutil.copyfile(path, target / path.name)


def _downloaded(ref: ModelRef) -> Path:
    """Return the folder of the hub's cache that holds the commit."""
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            ref.location, revision=ref.revision, allow_patterns=[*LOADED], ignore_patterns=["*/*", *NOT_LOADED]
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"from_checkpoint {ref.name!r}: cannot be downloaded ({reason})") from error
    return Path(found)


def doubts(folder: Path, holds: Holds, base: ModelRef, config: Any, rank: int) -> list[str]:
    """Say where a checkpoint contradicts the study; ``config`` is the base's, ``rank`` the one that is declared."""
    said: dict[str, Any] = read_json(folder / CONFIGS[holds])
    if holds == "model":
        same = said.get("model_type") == config.model_type
        return [] if same else [f"it is a {said.get('model_type')} model and {base.name} is {config.model_type}"]
    named = said.get("base_model_name_or_path")
    found = [] if named is None or _same_base(named, base) else [f"it was made for {named}, the study has {base.name}"]
    differs = said.get("r") not in (None, rank)
    return [*found, *([f"it has rank {said['r']}, the study declares {rank}"] if differs else [])]


def _same_base(named: str, base: ModelRef) -> bool:
    """Compare hub ids as a whole, and a folder with anything by its last part: folders differ between machines."""
    if base.revision and not _is_path(named):
        return named.lower() == base.location.lower()
    return Path(named).name.lower() in (Path(base.location).name.lower(), Path(base.name).name.lower())


def _is_path(name: str) -> bool:
    parts: Sequence[str] = name.split("/")
    return name.startswith((".", "/", "~")) or len(parts) != 2 or Path(name).exists()
