"""The hub, with its failure modes tamed: an answer within seconds, and one line that says what to do.

Without a network the hub's client retries for half a minute. So before the first use, reachability is tried
once with a short limit, and when there is none the client is put into its offline mode, where it still serves
its cache.
"""

from __future__ import annotations

import logging
import os
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tunelab.errors import DataError, ModelError

PROBE_SECONDS = 3.0


@cache
def online() -> bool:
    """Say whether the hub answers. When it does not, the hub's client is set to offline for this process."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    answered = threading.Event()
    probe = threading.Thread(target=_probe, args=(answered,), daemon=True)
    probe.start()
    probe.join(PROBE_SECONDS)
    if answered.is_set():
        return True
    import huggingface_hub.constants

    os.environ["HF_HUB_OFFLINE"] = "1"
    huggingface_hub.constants.HF_HUB_OFFLINE = True
    return False


@dataclass(frozen=True)
class Place:
    """Where a split is: ``pieces`` are the configs that hold ``config`` on the hub, in the order of their rows."""

    repo: str
    config: str
    split: str
    revision: str
    pieces: tuple[str, ...]


def load_split(place: Place) -> list[dict[str, Any]]:
    """Return a split's rows from the hub or its cache; raises DataError with the ways to provide them."""
    reachable = online()
    import datasets
    import datasets.config

    datasets.config.HF_HUB_OFFLINE = not reachable
    datasets.disable_progress_bars()
    logging.getLogger("datasets").setLevel(logging.ERROR)
    try:
        return [
            row
            for piece in place.pieces
            for row in datasets.load_dataset(place.repo, piece, split=place.split, revision=place.revision).to_list()
        ]
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(_unavailable(place, reachable, error)) from error


def require(place: Place) -> None:
    """Raise DataError within seconds when a split is neither in the cache nor to be had from the hub."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = Path(os.environ.get("HF_DATASETS_CACHE", home / "datasets"))
    if online():
        return
    folder = cache / place.repo.replace("/", "___")
    if not all((folder / piece / "0.0.0" / place.revision).is_dir() for piece in place.pieces):
        raise DataError(_unavailable(place, False, None))


def model_revision(repo: str, revision: str) -> str:
    """Return the commit that a hub model's revision means now, from the cache or the hub.

    Raises ModelError within seconds when neither knows it.
    """
    cached = _cached_commit(repo, revision)
    if not online():
        if cached is None:
            raise ModelError(_no_model(repo, "the hub cannot be reached and the model is not in its cache"))
        return cached
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        commit = huggingface_hub.HfApi().model_info(repo, revision=revision, timeout=10).sha
    except (HfHubHTTPError, HFValidationError) as error:
        raise ModelError(_no_model(repo, str(error).strip().splitlines()[0])) from None
    return commit or revision


def _cached_commit(repo: str, revision: str) -> str | None:
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    ref = folder / "refs" / revision
    if ref.is_file():
        return ref.read_text().strip()
    return revision if (folder / "snapshots" / revision).is_dir() else None


def cached_file(repo: str, name: str, revision: str) -> Path | None:
    """Return a file of a hub model at a commit where the cache holds it."""
    from huggingface_hub.constants import HF_HUB_CACHE

    path = Path(HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "snapshots" / revision / name
    return path if path.is_file() else None


def _probe(answered: threading.Event) -> None:
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError:
        pass
    except (OSError, ValueError):
        return
    answered.set()


def _unavailable(place: Place, reachable: bool, error: Exception | None) -> str:
    repo, config, split = place.repo, place.config, place.split
    reason = f"{type(error).__name__}" if reachable else "the hub cannot be reached and its cache has no copy"
    return (
        f"dataset {repo} ({config}, {split}): {reason}; provide it by (1) a network connection to the hub, "
        f"(2) TUNELAB_DATA=DIR with DIR/{repo}/{config}/{split}.jsonl, or (3) data.files.<split>=FILE in the study"
    )


def _no_model(repo: str, reason: str) -> str:
    return (
        f"model {repo!r}: {reason}; expected 'tiny', 'tiny-t5', a local folder with config.json, or a hub id: "
        "check the spelling, connect, or download it beforehand"
    )
