"""``--smoke``: the same study at the size of a minute, on the bundled model, without a network.

What names another model's parts or sizes is fitted to the bundled one: adapters go to all linear layers, and rows
beyond its context are left out. ``CHANGES`` says so where the results are read.
"""

from __future__ import annotations

from typing import Any

from tunelab.formats.format import Format
from tunelab.models.spec import TINY
from tunelab.study.entries import CheckpointSearch, Evaluate, LrSearch, Size, Train
from tunelab.study.spec import Study
from tunelab.training.recipe import Grpo

TRAIN_ROWS = 96
EVALUATE_ROWS = 32
STEPS = 12
SHOTS, SHOTS_OF = 2, 4
TOKENS = 64
LENGTH = 4096
"""The bundled model's context."""
QUESTION = LENGTH * 3 // 4
"""Bytes that a row's words may have: never fewer than their tokens, so that prompt, template and answer fit."""
CHANGES = (
    f"the bundled model everywhere; at most {TRAIN_ROWS} training and {EVALUATE_ROWS} evaluation rows; {STEPS} steps "
    f"of 8 rows; at most {TOKENS} new tokens and {SHOTS} drawn worked examples, of {SHOTS_OF}; rows of more than "
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
        "formats": {name: _small_format(fmt) for name, fmt in study.formats.items()},
        "train": {name: _small_train(entry) for name, entry in study.train.items()},
        "evaluate": {name: _small_evaluate(entry) for name, entry in study.evaluate.items()},
        "data": study.data.model_copy(update={"leaks": "report" if study.data.leaks == "refuse" else study.data.leaks}),
    }
    return study.model_copy(update=small)


def _small_format(fmt: Format) -> Format:
    """Draw fewer worked examples: the rows that a task ships are few. A file is used as it is."""
    shots = fmt.few_shots
    if shots.file is not None:
        return fmt
    cut = {"k": min(shots.k, SHOTS), "of": shots.of and min(shots.of, SHOTS_OF)}
    return fmt.model_copy(update={"few_shots": shots.model_copy(update=cut)})


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
    several = {"mixture": mixture, **_small_search(entry)}
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
        "max_new_tokens": _budget(entry.max_new_tokens),
    }
    return entry.model_copy(update=changes)


def _target_pairs(entry: Train) -> dict[str, str]:
    """The tiny model may never be right on a real task: prefer the target to what it says."""
    return {"pairs": "target"} if entry.dpo.pairs == "sampled" else {}


def _small_search(entry: Train) -> dict[str, LrSearch | CheckpointSearch]:
    """Cut the held-out rows of whatever chooses."""
    found = {"lr_search": entry.lr_search, "checkpoint_search": entry.checkpoint_search}
    cut = {"rows": EVALUATE_ROWS}
    return {name: s.model_copy(update=cut) for name, s in found.items() if s and s.rows > EVALUATE_ROWS}


def _budget(tokens: int | None) -> int:
    return min(tokens or TOKENS, TOKENS)


def _at_most(rows: Size, limit: int) -> int:
    return min(rows, limit) if isinstance(rows, int) else limit
