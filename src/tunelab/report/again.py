"""The study as it ran, in a file that runs it again: overrides, shared sections and matrices are resolved in it.

A sweep has several studies, and what is behind a server, real or a smoke run's, has an address that no report names.
These are run again from their own files, and the page says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunelab.report.evidence import Evidence
from tunelab.study.reproduce import REPRODUCED

STUDY_FILE = "study.json"
"""JSON, in which a number is read as it was written, and in which a smoke run may call itself one."""
FROM_FILE = (
    "The file lies in this folder: the study as it ran, with every override. Paths in it are as the study wrote them; "
    "put it beside what it names. Same fingerprints, same results."
)
FROM_NAME = (
    "Add the overrides that were given on the command line, if any; for a study of your own, give the path of its "
    "file. Same fingerprints, same results."
)


@dataclass(frozen=True)
class Again:
    """How a study is run again: the command, what to know of it, and the file's content where there is one."""

    command: str
    note: str
    study: dict[str, Any] | None


def again(evidence: Evidence) -> Again:
    """Return how the study is run again."""
    if _fits_one_file(evidence):
        return Again(f"tunelab run {STUDY_FILE}", FROM_FILE, {**evidence.study, **evidence.hardware})
    return Again(_by_name(evidence), FROM_NAME, None)


def _fits_one_file(evidence: Evidence) -> bool:
    study = evidence.study
    entries = {name for part in ("train", "models", "outputs") for name in study[part]}
    swept = any(cell["variant"].partition("#")[0] not in {"base", *entries} for cell in evidence.cells)
    served = any(not isinstance(model, str) for model in (study["model"], *study["models"].values()))
    reproduced = str(study["study"]).endswith(REPRODUCED)  # its checkpoints may have other commits by then
    return not (swept or served or reproduced or study.get("stand_ins"))


def _by_name(evidence: Evidence) -> str:
    name = str(evidence.study["study"]).removesuffix("-smoke" if evidence.study["smoke"] else "")
    verb = "reproduce" if name.endswith(REPRODUCED) else "run"
    return f"tunelab {verb} {name.removesuffix(REPRODUCED)}" + (" --smoke" if evidence.study["smoke"] else "")
