"""A file a variant with its metrics data set by data set, for programs that ask for one model's results.

    evaluation/<model>_results.json            the only trained variant of a model
    evaluation/<model>_<variant>_results.json  every other one; <model>_base_results.json is the untouched model

``checkpoint`` is where a variant's weights are from, if it was not trained here. ``datasets`` has an entry for each
evaluation: ``dataset`` (the task), ``metrics`` by their own names, of which ``headline`` names the first, the
``intervals`` of 95 %, and in ``scored`` how many of the ``n`` samples each metric is the mean of. The last entry,
``mixed``, is the mean over all tasks, by the study's ``task_weights`` where it has some. What is missing is null and
has an ``error``.
"""

from __future__ import annotations

from collections import Counter
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
"""Model, name, and whether it is more than the untouched model: trained, or imported outputs."""


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
        made = factors["method"] is not None or "imported" in cell
        cells.setdefault((factors["model"], cell["variant"], made), []).append(cell)
    return {
        file: {
            "model": variant[0],
            "variant": variant[1],
            "checkpoint": cells[variant][0].get("from_checkpoint"),
            "datasets": [*map(_dataset, cells[variant]), *_mixed(comparison["tree"], variant[1], cells[variant])],
        }
        for variant, file in _names([*cells]).items()
    }


def _names(variants: Sequence[Variant]) -> dict[Variant, str]:
    """Name the file of each variant, as shortly as no other is named; where two would be named alike, at length."""
    short = {variant: f"{_stem(variant[0], variants)}{_ending(variant, variants)}" for variant in variants}
    taken = Counter(short.values())
    return {
        variant: f"{name if taken[name] == 1 else f'{_plain(variant[0])}_{file_name(variant[1])}'}{SUFFIX}"
        for variant, name in short.items()
    }


def _stem(model: str, variants: Sequence[Variant]) -> str:
    """Return a model's name without its owner or folder, unless another one has the same."""
    same_end = {other for other, _, _ in variants if _short(other) == _short(model)}
    return _plain(model if len(same_end) > 1 else _short(model))


def _ending(variant: Variant, variants: Sequence[Variant]) -> str:
    """Return what tells a variant from others of its model: nothing for the only one trained, base for the other."""
    model, name, trained = variant
    if [other for other in variants if (other[0], other[2]) == (model, trained)] == [variant]:
        return "" if trained else f"_{BASE}"
    return f"_{file_name(name)}"


def _short(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2]


def _plain(model: str) -> str:
    """Return a model's name as the beginning of a file's, which nothing hides."""
    return file_name(model).lstrip(".-") or "model"


def _dataset(cell: Plain) -> Row:
    metrics: Mapping[str, Plain] = cell.get("metrics", {})
    return {
        "dataset": cell["task"],
        "evaluation": cell["evaluation"],
        "n": cell.get("n"),
        "headline": cell["headline"],
        "metrics": {name: found["value"] for name, found in metrics.items()} or {cell["headline"]: None},
        "intervals": {name: [found["low"], found["high"]] for name, found in metrics.items()},
        "scored": {name: found["n"] for name, found in metrics.items()},
        "outcomes": cell.get("outcomes"),
        **_error(cell, metrics),
    }


def _error(cell: Plain, metrics: Mapping[str, Plain]) -> Row:
    """Say why a cell, or a metric of it, has no value, where that is so."""
    if "error" in cell:
        return {"error": cell["error"]}
    silent = [f"no verdicts of {judge}: {why}" for judge, why in cell.get("no_verdicts", {}).items()]
    empty = [name for name, found in metrics.items() if found["value"] is None]
    reasons = [*silent, *([f"no sample has a value of {', '.join(empty)}"] if empty and not silent else [])]
    return {"error": "; ".join(reasons)} if reasons else {}


def _mixed(tree: Sequence[Plain], variant: str, cells: Sequence[Plain]) -> list[Row]:
    """Return the means over the root of the tree of tasks, one a format that was evaluated in."""
    roots = [row for row in tree if not row["node"] and row["variant"] == variant]
    if tree and not roots:
        formats = dict.fromkeys(cell["factors"]["eval_format"] for cell in cells)
        missing = list(dict.fromkeys(cell["task"] for cell in cells))
        roots = [{"eval_format": fmt, "missing": missing} for fmt in formats]
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
