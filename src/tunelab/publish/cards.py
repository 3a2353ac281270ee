"""Cards: the README of a repository on the hub, with the metadata that the hub reads.

A card says no more than the records do. Scores stand with interval and number of items, differences with their
verdict, and a smoke run says so first and gives the hub no score to list. Names on the hub enter the metadata only
where the record knows them: a bundled or local base model has none. No licence is declared, since none is known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import DatasetCardData, EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from tunelab.publish.results import Origin, Published, Scored
from tunelab.report.escaping import markdown
from tunelab.report.tables import flatten
from tunelab.report.wording import DASH, MARKS, could_see, interval, number, p_value, show, signed, signed_range
from tunelab.study.configurations import needed_files

CONFIGURATION = "study.json"
NAMES = {
    "text-classification": "Text Classification",
    "text-generation": "Text Generation",
    "text2text-generation": "Text-to-Text Generation",
}
"""What the hub calls its tasks."""
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def model_card(found: Published, repo: str) -> str:
    """Return the README of a trained model or adapter."""
    return _card(
        "model.md.j2",
        model_metadata(found, repo),
        found=found,
        repo=repo,
        recipe=flatten(found.recipe),
        scores=[_score_row(scored, name) for scored in found.scored for name in scored.cell["metrics"]],
        differences=[_difference_row(scored) for scored in found.scored if scored.against],
        format=_json(found.trained.record.settings["format"]),
        training=_training(found.trained.record.facts),
        needed=needed_files(dict(found.configuration)),
        configuration=CONFIGURATION,
    )


def dataset_card(found: Published, repo: str, tokenised: Mapping[str, Any]) -> str:
    """Return the README of a variant's tokenised rows; ``tokenised`` is the record's receipt."""
    return _card(
        "dataset.md.j2",
        dataset_metadata(found, repo, tokenised["tokenised"]),
        found=found,
        repo=repo,
        tokens=tokenised["tokenised"],
        format=_json(found.trained.record.settings["format"]),
        configuration=CONFIGURATION,
    )


def model_metadata(found: Published, repo: str) -> ModelCardData:
    """Return the metadata block of a model's card."""
    adapter = found.recipe["adaptation"] != "full"
    results = [] if found.study.smoke else eval_results(found)
    return ModelCardData(
        base_model=found.hub_base,
        base_model_relation=("adapter" if adapter else "finetune") if found.hub_base else None,
        library_name="peft" if adapter else "transformers",
        pipeline_tag=_kind(found),
        datasets=_datasets(found.rows),
        tags=_tags(found, found.recipe["method"], found.recipe["adaptation"]),
        model_name=repo.rpartition("/")[2] if results else None,
        eval_results=results or None,
    )


def _kind(found: Published) -> str:
    if found.classifies:
        return "text-classification"
    return _written(found)


def _written(found: Published) -> str:
    return "text2text-generation" if found.recipe["method"] == "seq2seq" else "text-generation"


def eval_results(found: Published) -> list[EvalResult]:
    """Return every metric of every evaluation that has a value, for the card's model-index."""
    return [
        EvalResult(
            task_type=_kind(found),
            task_name=NAMES[_kind(found)],
            dataset_type=scored.origin.hub or scored.origin.task,
            dataset_name=scored.origin.task,
            dataset_config=scored.origin.config,
            dataset_split=scored.origin.split,
            dataset_revision=scored.origin.revision,
            metric_type=name,
            metric_value=metric["value"],
            metric_name=f"{name} under {scored.cell['evaluation']}, "
            f"95 % {interval(metric)}, n = {scored.cell['scored']}",
        )
        for scored in found.scored
        for name, metric in scored.cell["metrics"].items()
        if metric["value"] is not None
    ]


def dataset_metadata(found: Published, repo: str, tokens: Mapping[str, Any]) -> DatasetCardData:
    """Return the metadata block of a data set's card."""
    return DatasetCardData(
        pretty_name=repo.rpartition("/")[2],
        tags=_tags(found, "tokenised"),
        task_categories=[_written(found)],
        source_datasets=_datasets(found.rows),
        size_categories=[next((name for limit, name in SIZES if tokens["rows"] < limit), "n>1M")],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": "train.parquet"}]}],
    )


def _card(template: str, metadata: ModelCardData | DatasetCardData, **values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("tunelab.publish", "templates"),
        autoescape=False,  # this is Markdown: `plain` keeps text from becoming markup
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"plain": lambda value: markdown(str(value)), "show": show}
    return f"---\n{metadata.to_yaml()}\n---\n\n{environment.get_template(template).render(**values)}"


def _score_row(scored: Scored, name: str) -> list[str]:
    cell, metric = scored.cell, scored.cell["metrics"][name]
    evaluation = cell["evaluation"] + (" (mismatched)" if cell["matched"] is False else "")
    where = f"{scored.origin.task}, {scored.origin.split}"
    return [evaluation, where, name, number(metric["value"]), interval(metric), show(cell["scored"])]


def _difference_row(scored: Scored) -> list[str]:
    row = scored.against
    assert row is not None
    start = [scored.cell["evaluation"], row["baseline"].rpartition("/")[0]]
    if "refused" in row:
        return [*start, *[DASH] * 4, f"{MARKS['refused']}: {row['refused']}"]
    mark = MARKS[row["verdict"]]
    if row["verdict"] == "undecided":
        mark += f" ({could_see(row)})"
    return [*start, signed(row["difference"]), signed_range(row), p_value(row["p_adjusted"]), show(row["n"]), mark]


def _training(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a training that a reader asks for first."""
    counts = {key.replace("_", " "): value for key, value in facts.get("receipt", {}).items() if key != "sources"}
    return {"optimiser steps": facts.get("steps"), "final loss": facts.get("final_loss"), **counts}


def _datasets(origins: Sequence[Origin]) -> list[str] | None:
    return list(dict.fromkeys(origin.hub for origin in origins if origin.hub)) or None


def _tags(found: Published, *more: str) -> list[str]:
    return ["tunelab", *more, *(["smoke-run"] if found.study.smoke else [])]


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), indent=2, ensure_ascii=False)
