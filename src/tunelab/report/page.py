"""The page: one file that needs no network. Every text from outside is escaped by jinja2.

Its one script compares settings and opens what is folded before printing; without it all the same stands there.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tunelab.report import (
    cells,
    checkpoints,
    confusion,
    group_differences,
    groups,
    judging,
    over_seeds,
    provenance,
    several,
    tables,
)
from tunelab.report.adopted import adopted
from tunelab.report.again import STUDY_FILE, again
from tunelab.report.costs import costs, energy_note
from tunelab.report.crossed import is_matched_effect
from tunelab.report.drawing import Picture
from tunelab.report.evidence import Evidence
from tunelab.report.glance import glance
from tunelab.report.imported import other_scorers, sources
from tunelab.report.policy import content_policy
from tunelab.report.rollouts import health_of, health_table, silences
from tunelab.report.rollouts_by_task import refused_gold, task_table
from tunelab.report.served import unlisted
from tunelab.report.splits import splits
from tunelab.report.tabular import named
from tunelab.report.wording import show, signed, signed_range
from tunelab.study.smoke import CHANGES
from tunelab.visible import visible


def render(sections: Mapping[str, Any], answer: str, pictures: Sequence[Picture], directory: Path) -> str:
    """Return the page of ``sections_of``; ``directory`` holds the figures that were saved."""
    figures = [(picture, embedded(picture, directory)) for picture in pictures]
    return environment().get_template("index.html.j2").render(answer=answer, figures=figures, **sections)


def environment() -> Environment:
    """Return what renders every page: texts are escaped, and a name that is not there is an error."""
    made = Environment(
        loader=PackageLoader("tunelab.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_readable,
    )
    made.filters |= {"show": show, "signed": signed, "signed_range": signed_range, "content_policy": content_policy}
    return made


def _readable(value: Any) -> Any:
    """Mark what a reader would not see in a text; markup is our own."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def sections_of(evidence: Evidence) -> dict[str, Any]:
    """Return all that the page shows by the names that its template has for it; tables have them too."""
    found = {**_results(evidence), **_trained(evidence), **_provenance(evidence)}
    return {name: named(value, name) for name, value in found.items()}


def _results(evidence: Evidence) -> dict[str, Any]:
    """What was found: scores, differences, effects, outcomes."""
    evaluations, rows = tables.matrix(evidence)
    effects: list[Mapping[str, Any]] = evidence.comparison["effects"]
    return {
        "study": evidence.study,
        "glance": glance(evidence),
        "evaluations": evaluations,
        "matrix": rows,
        "tasks": {cell["evaluation"]: cell["task"] for cell in evidence.cells},
        "headlines": {cell["evaluation"]: cell["headline"] for cell in evidence.scored},
        "alpha": evidence.comparison["alpha"],
        "holes": evidence.holes,
        "left_out": evidence.left_out,
        "refused": [
            row for kind in ("comparisons", "contrasts") for row in evidence.comparison[kind] if "refused" in row
        ],
        "baselines": list(
            dict.fromkeys(cell["baseline"].rpartition("/")[0] for cell in evidence.cells if cell["baseline"])
        ),
        "matched": [effect for effect in effects if is_matched_effect(effect)],
        "results": cells.results(evidence),
        "comparisons": tables.comparisons(evidence),
        "contrasts": tables.contrasts(evidence),
        "differing": tables.differing(evidence),
        "recipes": over_seeds.recipes_table(evidence),
        "noise": over_seeds.noise_table(evidence),
        "outcomes": tables.outcomes(evidence),
        "metrics": tables.metrics(evidence),
        "groups": groups.tables(evidence),
        "changes": group_differences.changes(evidence.comparison["group_changes"]),
        "contrast_changes": group_differences.contrasts(evidence.comparison["group_contrasts"]),
        "side_by_side": group_differences.side_by_side(evidence.comparison["group_pairs"]),
        "confusions": confusion.tables(evidence.comparison["confusions"]),
        "definitions": tables.definitions(evidence),
        "effects": tables.effects(evidence),
        "thresholds": tables.thresholds(evidence),
        "adopted": adopted(evidence),
        "imported": sources(evidence),
        "other_scorers": other_scorers(evidence),
        "notices": {**evidence.notices, **unlisted(evidence.records())},
        "denominators": (denominators := tables.denominators(evidence)),
        "even_denominators": tables.even_denominators(denominators),
        "wrong": [cell for cell in evidence.scored if "error" in cell],
    }


def _trained(evidence: Evidence) -> dict[str, Any]:
    """How the variants came to be."""
    return {
        "training": tables.training(evidence),
        "health": health_table(healths := health_of(evidence.of("train"))),
        "task_health": task_table(healths),
        "silences": silences(healths),
        "refused_gold": refused_gold(evidence.of("train")),
        "protocol": several.protocol(evidence),
        "searches": several.searches(evidence),
        "checkpoints": checkpoints.checkpoints(evidence),
        "few_steps": checkpoints.few_steps(evidence),
        "optimistic": checkpoints.OPTIMISTIC,
        "averages": several.averages(evidence),
        "mixtures": several.mixtures(evidence),
    }


def _provenance(evidence: Evidence) -> dict[str, Any]:
    """Where it all comes from, what it cost and how to do it again."""
    return {
        "settings": tables.settings(evidence),
        "all_settings": tables.all_settings(evidence),
        "leaks": provenance.leaks(evidence),
        "examples": provenance.examples(evidence),
        "data": provenance.data(evidence),
        "receipts": provenance.receipts(evidence),
        "splits": splits(evidence),
        "pairs": provenance.pairs(evidence),
        "judging": judging.sheet(evidence),
        "costs": costs(evidence),
        "energy_note": energy_note(evidence),
        "versions": provenance.versions(evidence),
        "fingerprints": provenance.fingerprints(evidence),
        "again": again(evidence),
        "smoke_changes": CHANGES,
        "study_file": STUDY_FILE,
        "study_json": json.dumps(evidence.study, indent=2, ensure_ascii=False),
    }


def embedded(picture: Picture, directory: Path) -> str:
    """Return a saved figure as a data URI, empty when there is none."""
    if picture.figure is None:
        return ""
    content = (directory / f"{picture.name}.svg").read_bytes()
    return f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"
