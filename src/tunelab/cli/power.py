"""``tunelab power``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tunelab.cli.options import RESULTS, Json, ResultsDir
from tunelab.errors import StudyError, UserError, nearest
from tunelab.files import read_json
from tunelab.report.wording import counted
from tunelab.stats import fewest_items
from tunelab.stats.seeds import MINIMUM_SEEDS
from tunelab.study.foresee import POINTS, Design, foresee, of_study

Row = Mapping[str, Any]
DEFAULTS = {"power": 0.8, "alpha": 0.05}


def command(
    effect: Annotated[float | None, typer.Option("--effect", help="Difference to see, in points.")] = None,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Number of items.")] = None,
    discordance: Annotated[
        float, typer.Option("--discordance", min=0.0, max=1.0, help="Share of items right on one side only.")
    ] = 0.1,
    sd: Annotated[
        float | None, typer.Option("--sd", min=0, help="Graded scores: SD of an item's difference, in points.")
    ] = None,
    seed_sd: Annotated[
        float | None, typer.Option("--seed-sd", min=0, help="SD of a recipe's score between seeds, in points.")
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Number of seeds of a recipe.")] = None,
    power: Annotated[float, typer.Option("--power", min=0.0, max=1.0, help="Chance to see the difference.")] = 0.8,
    alpha: Annotated[
        float | None,
        typer.Option(
            "--alpha", min=0.0, max=1.0, help="Chance of a false verdict; with m comparisons, 0.05 / m. Default: 0.05."
        ),
    ] = None,
    study: Annotated[
        str | None, typer.Option("--study", metavar="NAME", help="Take what this finished study observed.")
    ] = None,
    as_json: Json = False,
    results: ResultsDir = RESULTS,
) -> None:
    """Example: tunelab power --effect 2 --discordance 0.1"""
    design = Design(effect, n, discordance, sd, seed_sd, seeds, power, 0.05 if alpha is None else alpha)
    _refuse_incomplete(design, study)
    try:
        found = [foresee(design)] if study is None else _of_study(study, results, design, alpha)
    except ValueError as error:
        raise UserError(f"power: {error}") from None
    if as_json:
        print(json.dumps({"design": asdict(design), "found": found}, indent=1))
        return
    for row in found:
        for line in _lines(row, design):
            print(f"{row['name']}: {line}" if "name" in row else line)
    if not found:
        print(f"{study}: no comparison in which anything differed, so there is no spread to plan with")


def _refuse_incomplete(design: Design, study: str | None) -> None:
    for name, share in (("power", design.power), ("alpha", design.alpha)):
        if not 0 < share < 1:
            raise UserError(f"--{name}: got {share:g}, expected a share between 0 and 1, like {DEFAULTS[name]:g}")
    if design.seeds is not None and design.seeds < MINIMUM_SEEDS:
        raise UserError(f"--seeds: got {design.seeds}, expected at least {MINIMUM_SEEDS}: fewer seeds make no recipe")
    if design.seeds is not None and design.seed_sd is None and study is None:
        raise UserError("power: got --seeds without --seed-sd, expected how far seeds lie apart, in points")
    if design.effect == 0 or (design.sd is None and abs(design.effect or 0) > POINTS):
        raise UserError(f"power: got --effect {design.effect:g}, expected points other than 0, up to 100 for shares")
    if design.effect is None and design.n is None and design.seeds is None and study is None:
        raise UserError("power: got neither --effect nor --n, expected what to see or how many items there are")


def _of_study(study: str, results: Path, design: Design, alpha: float | None) -> list[dict[str, Any]]:
    known = {path.parent.name: path for path in sorted(results.glob("*/comparison.json"))}
    if study not in known:
        raise StudyError(f"power: {study!r} has no results in {results}{nearest(study, known)}; run it first")
    comparison = read_json(known[study])
    return of_study(comparison, replace(design, alpha=comparison["alpha"] if alpha is None else alpha))


def _lines(row: Row, design: Design) -> Iterator[str]:
    if "items" in row:
        yield from _items(row, design)
    if "seeds" in row:
        yield from _seeds(row["seeds"], design)


def _items(row: Row, design: Design) -> Iterator[str]:
    found, often = row["items"], f"in {design.power:.0%} of studies"
    sd = row.get("sd", None if "discordance" in row else design.sd)
    discordance = row.get("discordance", design.discordance)
    given = (
        f"if {discordance:.1%} of the items change" if sd is None else f"if an item's difference has an SD of {sd:.1f}"
    )
    if found["needed"] is not None:
        yield f"{_points(design)} {often} on {found['needed']:,} items {given}"
    if found["sees"] is not None:
        see = "item sees" if found["n"] == 1 else "items see"
        yield f"{found['n']:,} {see} {found['sees']:.1f} points {often} {given}"
    elif found["n"] is not None:
        least = fewest_items(design.alpha)
        yield f"no difference can be seen with fewer than {least} items: got {found['n']}"
    if found["power"] is not None:
        n = found["n"] or found["needed"]
        yield f"the exact test sees {design.effect:g} points on {n:,} items in {found['power']:.1%} of studies"


def _seeds(found: Row, design: Design) -> Iterator[str]:
    given = f"if seeds lie {found['sd']:.2g} {'point' if found['sd'] == 1 else 'points'} (SD) apart"
    over = f"with the items' error on {counted(found['n'], 'item')}" if found["n"] else "however many items there are"
    if design.effect is not None:
        needed = found["needed"]
        if needed is None:
            what = f"{design.effect:g} {'point' if design.effect == 1 else 'points'}"
            yield f"no number of seeds sees {what} {given}, {over}: more items are needed"
        else:
            yield f"{_points(design)} with {counted(needed, 'seed')} of a recipe {given}, {over}"
    if found["sees"] is not None:
        yield f"{found['seeds']} seeds of a recipe see {found['sees']:.1f} points {given}, {over}"


def _points(design: Design) -> str:
    return f"{design.effect:g} {'point is' if design.effect == 1 else 'points are'} seen"
