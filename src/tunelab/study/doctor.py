"""Is this machine fit, and is the store whole? Each finding is tested for real, not read off a setting."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tunelab.data.hub import online
from tunelab.data.sources import MIRROR_VARIABLE
from tunelab.engine.record import Artifact
from tunelab.engine.store import Store
from tunelab.errors import StoreError
from tunelab.files import read_json, sha256_file
from tunelab.models.device import detect, without_four_bits
from tunelab.models.spec import TINY, resolve
from tunelab.scoring.code.sandbox import refusal

LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "scipy", "statsmodels")


@dataclass(frozen=True)
class Finding:
    """``ok`` is None for what is neither right nor wrong, only good to know."""

    what: str
    found: str
    ok: bool | None


def diagnose(store: Path) -> Iterator[Finding]:
    """Yield every finding about this machine and a store."""
    yield Finding("python", f"{platform.python_version()} on {platform.platform()}", True)
    yield from _libraries()
    yield Finding("device", f"{detect()}, {os.cpu_count()} CPU cores", None)
    yield Finding("4-bit weights", without_four_bits(detect()) or "bitsandbytes is installed", None)
    yield _sandbox()
    yield Finding("hub", "reachable" if online() else "not reachable: only local data and models can be used", None)
    yield _mirror()
    yield _tiny()
    yield from _store(store)


def _libraries() -> Iterator[Finding]:
    for name in LIBRARIES:
        try:
            yield Finding(name, importlib.metadata.version(name), True)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "not installed; install tunelab again", False)


def _sandbox() -> Finding:
    """Run a program in the sandbox; a machine without one is fit for everything but tasks that run code."""
    why = refusal("bubblewrap")
    return Finding("code sandbox", why or "bubblewrap holds what a program in it tried", None if why else True)


def _mirror() -> Finding:
    root = os.environ.get(MIRROR_VARIABLE)
    if not root:
        return Finding(MIRROR_VARIABLE, "not set: data sets come from the hub", None)
    found = len(list(Path(root).glob("*/*/*/*.jsonl")))
    return Finding(MIRROR_VARIABLE, f"{root} holds {found} splits", found > 0)


def _tiny() -> Finding:
    """Compare the bundled model's files with their recorded checksums."""
    folder = Path(resolve(TINY).location)
    files: dict[str, str] = read_json(folder / "manifest.json")["files"]
    wrong = [n for n, digest in files.items() if not (folder / n).exists() or sha256_file(folder / n) != digest]
    return Finding("bundled model", f"damaged: {', '.join(wrong)}" if wrong else "whole", not wrong)


def _store(root: Path) -> Iterator[Finding]:
    """Verify every finished step of the store."""
    if not root.exists():
        yield Finding("store", f"{root} does not exist yet", None)
        return
    try:
        artifacts = list(Store(root).artifacts())
    except StoreError as error:
        yield Finding("store", str(error), False)
        return
    damaged = [message for artifact in artifacts if (message := _damage(artifact))]
    for message in damaged:
        yield Finding("store", message, False)
    if not damaged:
        yield Finding("store", f"{root}: {len(artifacts)} finished steps, all files as recorded", True)


def _damage(artifact: Artifact) -> str:
    try:
        artifact.verify()
    except StoreError as error:
        return str(error)
    return ""
