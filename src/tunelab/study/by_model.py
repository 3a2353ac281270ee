"""A file a variant with its metrics data set by data set, for programs that ask for one model's results.

    evaluation/<model>_results.json            the only trained variant of a model
    evaluation/<model>_<variant>_results.json  every other one; <model>_base_results.json is the untouched model

``datasets`` has an entry for each evaluation: ``dataset`` (the task), ``metrics`` by their own names, of which
``headline`` names the first, and their 95 % ``intervals``. The last entry, ``mixed``, is the mean over all tasks, by
the study's ``task_weights`` where it has some. What is missing is null and has an ``error``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunelab.files import write_json
from tunelab.study.cells import BASE, file_name

EVALUATION, SUFFIX = "evaluation", "_results.json"
MIXED = "mixed"
Row = dict[str, Any]
Plain = Mapping[str, Any]
Variant = tuple[str, str, bool]
"""Model, name, and whether it was trained."""


def write_by_model(comparison: Plain, root: Path) -> None:
    """Write a file for every variant, and remove those of variants that are gone."""
    made = by_model(comparison)
    for path in (root / EVALUATION).glob(f"*{SUFFIX}"):
        if path.name not in made:
            path.unlink()
    for name, content in made.items():
        (root / EVALUATION).mkdir(parents=True, exist_ok=True)
        write_json(root / EVALUATION / name, content)


def by_model(comparison: Plain) -> dict[str, Row]:
    """Return the content of each file by its name."""
    cells: dict[Variant, list[Plain]] = {}
    for cell in (*comparison["cells"], *comparison["missing"]):
        factors = cell["factors"]
        cells.setdefault((factors["model"], cell["variant"], factors["method"] is not None), []).append(cell)
    return {
        _name(variant, [*cells]): {
            "model": variant[0],
            "variant": variant[1],
            "datasets": [*map(_dataset, found), *_mixed(comparison["tree"], variant[1])],
        }
        for variant, found in cells.items()
    }


def _name(variant: Variant, known: Sequence[Variant]) -> str:
    model, name, trained = variant
    same_end = {other for other, _, _ in known if _short(other) == _short(model)}
    stem = file_name(model if len(same_end) > 1 else _short(model))
    if [other for other in known if other[0] == model and other[2]] == [variant]:
        return f"{stem}{SUFFIX}"
    untouched = not trained and name.startswith(BASE)
    return f"{stem}_{BASE if untouched else file_name(name)}{SUFFIX}"


def _short(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2]


def _dataset(cell: Plain) -> Row:
    metrics: Mapping[str, Plain] = cell.get("metrics", {})
    return {
        "dataset": cell["task"],
        "evaluation": cell["evaluation"],
        "n": cell.get("n"),
        "headline": cell["headline"],
        "metrics": {name: found["value"] for name, found in metrics.items()} or {cell["headline"]: None},
        "intervals": {name: [found["low"], found["high"]] for name, found in metrics.items()},
        "outcomes": cell.get("outcomes"),
        **({"error": cell["error"]} if "error" in cell else {}),
    }


def _mixed(tree: Sequence[Plain], variant: str) -> list[Row]:
    """Return the means over the root of the tree of tasks, one a format that was evaluated in."""
    roots = [row for row in tree if not row["node"] and row["variant"] == variant]
    return [
        {
            "dataset": MIXED,
            "evaluation": row["eval_format"],
            "n": None,
            "headline": "mean",
            "metrics": {"mean": row.get("value")},
            "intervals": {"mean": [row["low"], row["high"]]} if "value" in row else {},
            "outcomes": None,
            **({"error": f"no result: {', '.join(row['missing'])}"} if "missing" in row else {}),
        }
        for row in roots
    ]
