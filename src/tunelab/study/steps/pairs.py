"""Pairs: what dpo prefers to what, one pair a prompt, chosen from the base's scored completions or the data set."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunelab.data.sample import Sample
from tunelab.engine.context import StepContext
from tunelab.engine.record import Artifact
from tunelab.errors import DataError
from tunelab.files import read_lines, write_json, write_lines
from tunelab.scoring.score import Outcome
from tunelab.study.steps.rows import read_samples
from tunelab.study.steps.score import SCORES
from tunelab.tasks.find import find_task
from tunelab.tasks.task import Task

PAIRS = "pairs.jsonl"
RIGHT = {Outcome.CORRECT}
WRONG = {Outcome.WRONG, Outcome.NO_ANSWER, Outcome.REFUSED}
REASONS = {
    "sampled": ("all_right", "all_wrong", "unscored"),
    "target": ("none_wrong",),
    "dataset": ("without_rejected",),
}
"""Why a prompt has no pair, by where pairs come from."""

Draw = Mapping[str, Any]
"""A row of ``outputs.jsonl`` with the outcome of its score."""


def run(context: StepContext) -> None:
    """Write ``pairs.jsonl`` and ``receipt.json``. Raises DataError when there is not a single pair."""
    source: str = context.settings["pairs"]
    task = find_task(context.circumstance["task"], Path(context.circumstance["folder"]))
    samples = read_samples(context.inputs["rows"])
    draws = read_draws(context.inputs)
    found = [pair(source, task, sample, draws.get(sample.id, [])) for sample in samples]
    pairs = [row for row in found if isinstance(row, dict)]
    receipt = count(source, [row for row in found if isinstance(row, str)], draws, len(samples))
    if not pairs:
        raise DataError(no_pair(source, receipt))
    write_lines(context.directory / PAIRS, pairs)
    write_json(context.directory / "receipt.json", receipt)
    context.facts["receipt"] = receipt


def read_draws(inputs: Mapping[str, Artifact]) -> dict[str, list[Draw]]:
    """Return the base's completions by sample id, in the order of their draw, each with its outcome."""
    if "outputs" not in inputs:
        return {}
    outcomes = {(row["id"], row["sample"]): row["outcome"] for row in read_lines(inputs["scores"].path(SCORES))}
    draws: defaultdict[str, list[Draw]] = defaultdict(list)
    for row in sorted(read_lines(inputs["outputs"].path("outputs.jsonl")), key=lambda r: r["sample"]):
        draws[row["id"]].append(row | {"outcome": outcomes[row["id"], row["sample"]]})
    return dict(draws)


def pair(source: str, task: Task, sample: Sample, draws: Sequence[Draw]) -> dict[str, Any] | str:
    """Return a row of ``pairs.jsonl``, or the reason why the prompt has none."""
    right, wrong = verdicts(draws)
    if source == "sampled":
        if not right or not wrong:
            return "all_right" if right else "all_wrong" if wrong else "unscored"
        return {"id": sample.id, **side("chosen", right[0]), **side("rejected", wrong[0])}
    target, rejected = task.target(sample), sample.metadata.get("rejected")
    if source == "target":
        return {"id": sample.id, "chosen": target, **side("rejected", wrong[0])} if wrong else "none_wrong"
    if not isinstance(rejected, str) or rejected == target:
        return "without_rejected"
    return {"id": sample.id, "chosen": target, "rejected": rejected}


def verdicts(draws: Sequence[Draw]) -> tuple[list[Draw], list[Draw]]:
    """Return the right and the wrong completions, in the order of their draw.

    One that the token budget cut is neither: nobody knows how it would have ended.
    """
    whole = [draw for draw in draws if draw["finish"] != "length"]
    return [d for d in whole if d["outcome"] in RIGHT], [d for d in whole if d["outcome"] in WRONG]


def side(name: str, draw: Draw) -> dict[str, Any]:
    """Return one side of a pair: a completion's text and the index of its draw."""
    return {name: draw["output"], f"{name}_draw": draw["sample"]}


def count(source: str, missing: Sequence[str], draws: Mapping[str, Sequence[Draw]], prompts: int) -> dict[str, Any]:
    """Count prompts: those with a pair and those without, by reason; and what became of the completions."""
    reasons = Counter(missing)
    receipt: dict[str, Any] = {"source": source, "prompts": prompts, "pairs": prompts - len(missing)}
    receipt |= {reason: reasons[reason] for reason in REASONS[source]}
    if draws:
        drawn = [draw for found in draws.values() for draw in found]
        right, wrong = verdicts(drawn)
        cut = sum(draw["finish"] == "length" for draw in drawn)
        receipt["completions"] = {
            "right": len(right),
            "wrong": len(wrong),
            "cut": cut,
            "unscored": len(drawn) - len(right) - len(wrong) - cut,
        }
    return receipt


def no_pair(source: str, receipt: Mapping[str, Any]) -> str:
    """Say why nothing can be preferred, and what to do."""
    if source == "dataset":
        return (
            f"dpo pairs: none of {receipt['prompts']} rows has another text than its target in metadata.rejected, "
            "expected at least one; use dpo.pairs: sampled, or a task that provides it"
        )
    reasons = ", ".join(f"{receipt[name]} {name.replace('_', ' ')}" for name in REASONS[source])
    made = ", ".join(f"{n} {name}" for name, n in receipt["completions"].items())
    return (
        f"dpo pairs: got none from {receipt['prompts']} prompts ({reasons}; completions: {made}), expected at least "
        "one; raise dpo.samples, dpo.temperature or dpo.max_new_tokens, or use other rows"
    )
