"""``--smoke``: the same study at the size of a minute, on the bundled model, without a network.

What names another model's parts or sizes is fitted to the bundled one: adapters go to all linear layers, and rows
beyond its context are left out. ``CHANGES`` says so where the results are read.
"""

from __future__ import annotations

from typing import Any

from tunelab.models.spec import TINY
from tunelab.study.entries import Evaluate, LrSearch, Size, Train
from tunelab.study.spec import Study
from tunelab.training.recipe import Grpo

TRAIN_ROWS = 96
EVALUATE_ROWS = 32
STEPS = 12
TOKENS = 64
LENGTH = 4096
"""The bundled model's context."""
QUESTION = LENGTH * 3 // 4
"""Bytes that a row's words may have: never fewer than their tokens, so that prompt, template and answer fit."""
CHANGES = (
    f"the bundled model everywhere; at most {TRAIN_ROWS} training and {EVALUATE_ROWS} evaluation rows; {STEPS} steps "
    f"of 8 rows; at most {TOKENS} new tokens; rows of more than "
    f"{LENGTH} tokens, or of {QUESTION} bytes before a template, left out; adapters on all linear "
    "layers; DPO prefers targets where it would sample; leaks are listed and stop nothing"
)


def smoke(study: Study) -> Study:
    """Return the study with the tiny model in place of every model, few rows and few steps. Its name says so."""
    small: dict[str, Any] = {
        "study": f"{study.study}-smoke",
        "model": TINY,
        "smoke": True,
        "hardware": study.hardware.model_copy(update={"rollouts": "local"}),
        "train": {name: _small_train(entry) for name, entry in study.train.items()},
        "evaluate": {name: _small_evaluate(entry) for name, entry in study.evaluate.items()},
        "data": study.data.model_copy(update={"leaks": "report" if study.data.leaks == "refuse" else study.data.leaks}),
    }
    return study.model_copy(update=small)


def _small_train(entry: Train) -> Train:
    rows = _at_most(entry.rows, TRAIN_ROWS)
    dpo = entry.dpo.model_copy(update={"max_new_tokens": _budget(entry.dpo.max_new_tokens), **_target_pairs(entry)})
    lora = entry.lora.model_copy(update={"targets": "all-linear"})
    mixture = entry.mixture.model_copy(update={"size": "smallest"})
    changes = {
        "dpo": dpo,
        "grpo": _small_grpo(entry.grpo),
        "lora": lora,
        "model": None,
        "rows": rows,
        "batch_size": 8,
        "max_steps": STEPS,
    }
    lengths = {"max_length": min(entry.max_length, LENGTH), "max_too_long": 1.0}
    several = {"mixture": mixture, "lr_search": _small_search(entry)}
    return entry.model_copy(update=changes | lengths | several)


def _small_grpo(grpo: Grpo) -> Grpo:
    """Cut the budget, and the buffer of a length penalty where it would be longer."""
    budget, declared = _budget(grpo.max_new_tokens), grpo.rewards.length_buffer
    rewards = grpo.rewards.model_copy(update={"length_buffer": declared and min(declared, budget)})
    return grpo.model_copy(update={"max_new_tokens": budget, "rewards": rewards})


def _small_evaluate(entry: Evaluate) -> Evaluate:
    changes = {
        "rows": _at_most(entry.size, EVALUATE_ROWS),
        "sample": None,
        "expected": None,
        "max_new_tokens": _budget(entry.max_new_tokens),
    }
    return entry.model_copy(update=changes)


def _target_pairs(entry: Train) -> dict[str, str]:
    """The tiny model may never be right on a real task: prefer the target to what it says."""
    return {"pairs": "target"} if entry.dpo.pairs == "sampled" else {}


def _small_search(entry: Train) -> LrSearch | None:
    search = entry.lr_search
    return search.model_copy(update={"rows": min(search.rows, EVALUATE_ROWS)}) if search else None


def _budget(tokens: int | None) -> int:
    return min(tokens or TOKENS, TOKENS)


def _at_most(rows: Size, limit: int) -> int:
    return min(rows, limit) if isinstance(rows, int) else limit
