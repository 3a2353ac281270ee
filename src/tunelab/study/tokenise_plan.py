"""Tokenised sets as steps: the rows that a variant trains on, as ids, for other tools and for the hub.

The step is read off the variant's train step: the same rows, worked examples, tokenizer and format, and of the recipe
only what decides about ids. It needs nothing else, so what blocks a training for want of a sandbox, a judge or 4-bit
weights does not block it. Variants that differ in a learning rate share one set. Training does not read it: it
renders the same rows by the same function.
"""

from __future__ import annotations

from typing import Any

from tunelab.engine.step import Step
from tunelab.study.machine import UNRESOLVED
from tunelab.study.search_plan import first_training

VERSION = 2
TOKENS = "train.parquet"
RECEIPT = "receipt.json"
DECIDE_ABOUT_SIDES = ("max_length", "max_too_long")
DECIDE_ABOUT_IDS = ("loss", *DECIDE_ABOUT_SIDES)


def tokenise_step(train: Step) -> Step:
    """Return the step that writes a variant's rows as ids: whole ones for sft, both sides for seq2seq, else prompts."""
    train = first_training(train)
    recipe = train.settings["recipe"]
    rendering = {key: value for key, value in train.settings["format"].items() if key != "stop"}
    settings: dict[str, Any] = {"model": train.settings["model"], "format": rendering, "content": "prompts"}
    if recipe["method"] == "sft" and recipe.get("head", "lm") == "lm":
        settings |= {"content": "supervised", **{key: recipe[key] for key in DECIDE_ABOUT_IDS}}
    if recipe["method"] == "seq2seq":
        settings |= {"content": "sides", **{key: recipe[key] for key in DECIDE_ABOUT_SIDES}}
    return Step(
        kind="tokenise",
        version=VERSION,
        slug=train.slug,
        entry="tunelab.study.steps.tokenise:run",
        settings=settings,
        inputs={name: step for name, step in train.inputs.items() if name in ("rows", "shots")},
        circumstance={key: train.circumstance[key] for key in ("model", "task", "folder")},
        after=train.after,
        blocked=train.blocked if UNRESOLVED in train.settings["model"] else None,
    )
