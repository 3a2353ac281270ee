"""``tunelab studies``."""

from __future__ import annotations

from typing import Annotated

import typer
import yaml

from tunelab.errors import StudyError, nearest
from tunelab.study.read import bundled


def command(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="Print this study's file.")] = None,
) -> None:
    """Start your own study from a bundled one: tunelab studies chat-template > my-study.yaml"""
    known = bundled()
    if study is None:
        for name, path in known.items():
            print(f"{name}: {yaml.safe_load(path.read_text(encoding='utf-8'))['question']}")
        return
    if study not in known:
        raise StudyError(f"studies: got {study!r}, expected a bundled study{nearest(study, known)}")
    print(known[study].read_text(encoding="utf-8"), end="")
