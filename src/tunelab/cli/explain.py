"""``tunelab explain``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tunelab.cli.options import STORE, Json, Smoke, StoreDir
from tunelab.cli.say import say
from tunelab.engine.store import Store
from tunelab.study.explain import Difference, Explained, explain_pair, explain_step, known_steps
from tunelab.study.open import open_study


def command(
    step: Annotated[str, typer.Argument(metavar="STEP", help="kind/slug, with or without the hash.")],
    other: Annotated[str | None, typer.Argument(metavar="[STEP]", help="The step to compare with.")] = None,
    study: Annotated[str | None, typer.Option("--study", help="Also look among this study's planned steps.")] = None,
    override: Annotated[list[str] | None, typer.Option("--set", help="Override of the study: key=value.")] = None,
    smoke: Smoke = False,
    as_json: Json = False,
    store: StoreDir = STORE,
) -> None:
    """Example: tunelab explain train/sft_chat --study quickstart --set recipe.lr=3e-4"""
    planned = open_study(study, override or [], store, smoke).plan() if study else None
    known = known_steps(Store(store), planned)
    found = explain_step(known, step) if other is None else explain_pair(known, step, other)
    if as_json:
        print(json.dumps(found.to_json(), indent=1))
        return
    _print(found)


def _print(found: Explained) -> None:
    say(found.headline)
    for difference in found.differences:
        say(_line(difference))


def _line(difference: Difference) -> str:
    first = "absent" if difference.first is None else json.dumps(difference.first, ensure_ascii=False)
    second = "absent" if difference.second is None else json.dumps(difference.second, ensure_ascii=False)
    return f"  {difference.field}: {first} → {second}"
