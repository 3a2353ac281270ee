"""What would go to the hub: for each variant one repository of a model, and one of its data where that is asked for.

An upload is complete before the hub is asked for anything: every file, its size and its card. So a dry run shows
exactly what a push sends. Files are the ones whose checksums the store has just verified. Two are written here:
the card, and an adapter's configuration when it would name a folder of this machine as its base.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from tunelab.errors import StudyError
from tunelab.publish.cards import CONFIGURATION, dataset_card, model_card
from tunelab.publish.results import Published, read_published
from tunelab.study.configurations import NOT_IN_NAMES
from tunelab.study.open import Opened, tokenised_sets
from tunelab.study.tokenise_plan import TOKENS

PLACE = "{variant}"
CARD = "README.md"
ADAPTER = "adapter_config.json"

Content = Path | bytes


@dataclass(frozen=True)
class Upload:
    """One repository: its id, what kind it is, and its files by their path in it."""

    variant: str
    repo: str
    kind: Literal["model", "dataset"]
    files: Mapping[str, Content]

    @property
    def card(self) -> str:
        """The README."""
        content = self.files[CARD]
        assert isinstance(content, bytes)
        return content.decode()

    def sizes(self) -> dict[str, int]:
        """Return each file's size in bytes."""
        return {name: len(c) if isinstance(c, bytes) else c.stat().st_size for name, c in sorted(self.files.items())}


def plan_models(opened: Opened, names: Sequence[str], to: str) -> list[Upload]:
    """Return an upload per trained variant; all of the study's when none is named. Raises StudyError."""
    found = read_published(opened, names)
    repos = repositories([one.name for one in found], to)
    return [Upload(one.name, repos[one.name], "model", _model_files(one, repos[one.name])) for one in found]


def plan_data(opened: Opened, names: Sequence[str], to: str) -> list[Upload]:
    """Return an upload per trained variant's tokenised rows. Raises StudyError where they are not prepared."""
    found = read_published(opened, names)
    repos = repositories([one.name for one in found], to)
    sets = tokenised_sets(opened)
    if owed := [one.name for one in found if opened.store.find(sets[one.name]) is None]:
        raise StudyError(f"data not prepared: {', '.join(owed)}; run `tunelab data prepare` on the study first")
    uploads: list[Upload] = []
    for one in found:
        made, repo = opened.store.open(sets[one.name]), repos[one.name]
        card = dataset_card(one, repo, made.record.facts["receipt"])
        files = {CARD: card.encode(), TOKENS: made.path(TOKENS), CONFIGURATION: _plain_json(one.configuration)}
        uploads.append(Upload(one.name, repo, "dataset", files))
    return uploads


def refuse_smoke(opened: Opened) -> None:
    """Raise StudyError for results of a smoke run: their scores mean nothing, and the hub keeps what it is given."""
    if opened.compiled.study.smoke:
        raise StudyError(
            f"{opened.name}: got results of a smoke run, expected those of a full one; run the study without --smoke, "
            "or add --smoke-anyway to push them with a card that says so"
        )


def repositories(variants: Sequence[str], to: str) -> dict[str, str]:
    """Return each variant's repository: ``to`` with the variant in place of ``{variant}``, or appended to it.

    Raises StudyError for names that the hub does not take, and for two variants that would share one.
    """
    template = to if PLACE in to else f"{to}-{PLACE}"
    repos = {name: template.replace(PLACE, NOT_IN_NAMES.sub("-", name).strip("-.")) for name in variants}
    for repo in repos.values():
        if repo.count("/") != 1:
            raise StudyError(f"--to: got {to!r}, expected OWNER/NAME, like me/my-study")
        try:
            validate_repo_id(repo)
        except HFValidationError as error:
            raise StudyError(f"--to: {' '.join(str(error).split())}") from None
        if same := [name for name, other in repos.items() if other == repo][1:]:
            raise StudyError(f"--to: {repo} would hold {len(same) + 1} variants; push them one by one to other names")
    return repos


def _model_files(found: Published, repo: str) -> dict[str, Content]:
    files: dict[str, Content] = {}
    for path in found.trained.record.files:
        folder, _, name = path.partition("/")
        if folder == "model" and name != CARD:
            files[name] = found.trained.path(path)
    if ADAPTER in files and found.hub_base is None:
        files[ADAPTER] = _without_folder(found)
    return files | {CARD: model_card(found, repo).encode(), CONFIGURATION: _plain_json(found.configuration)}


def _without_folder(found: Published) -> bytes:
    """Return the adapter's configuration with the base's name in place of a folder on this machine."""
    settings = json.loads(found.trained.path(f"model/{ADAPTER}").read_text(encoding="utf-8"))
    return _plain_json(settings | {"base_model_name_or_path": found.configuration["model"]})


def _plain_json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
