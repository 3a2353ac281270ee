"""Which one setting makes a step fit into the memory that there is, by the same estimate.

Settings are tried from those that change least: the machine's first, which leave the experiment as it is, then what
an answer or a row may be long, and the way of training last. The first value that fits is the remedy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from tunelab.generation.footprint import Answering
from tunelab.models.device import without_four_bits
from tunelab.models.footprint import Lengths
from tunelab.study.footprints import Work, parts_of
from tunelab.training.footprint import Training
from tunelab.training.sizes import rows_per_step

SHORTEST_ANSWER, SHORTEST_ROW = 16, 128
"""Tokens below which nothing is proposed."""


@dataclass(frozen=True)
class Remedy:
    """A setting by its path in the study, the value that fits, and what the step then takes, in bytes."""

    key: str
    value: int | str | bool
    total: int


Turned = Iterator[tuple[str, int | str | bool, Work]]


def remedy(work: Work, room: int, entry: str | None, hardware: Collection[str]) -> Remedy | None:
    """Return the first setting that makes ``work`` fit into ``room``, or None where no single one does.

    ``entry`` is the path of what the study calls the step, ``hardware`` what may be set of the machine.
    """
    turned = _of_training(work, entry) if isinstance(work, Training) else _of_answering(work, entry)
    for key, value, changed in turned:
        section, _, name = key.partition(".")
        if section == "hardware" and name not in hardware:
            continue
        if (total := sum(parts_of(changed).values())) <= room:
            return Remedy(key, value, total)
    return None


def _of_training(work: Training, entry: str | None) -> Turned:
    batch = rows_per_step(work.recipe)
    for rows in range(work.rows - 1, 0, -1):
        if batch % rows == 0:
            yield "hardware.micro_batch_size", rows, replace(work, micro_batch_size=rows)
    if not work.gradient_checkpointing:
        yield "hardware.gradient_checkpointing", True, replace(work, gradient_checkpointing=True)
    if work.recipe.method == "grpo":
        for together in _halves(work.drawn_together, 1):
            yield "hardware.rollout_batch_size", together, replace(work, drawn_together=together)
    if entry is not None:
        yield from _of_recipe(work, entry)


def _of_recipe(work: Training, entry: str) -> Turned:
    recipe = work.recipe
    if recipe.method == "grpo":
        for tokens in _halves(work.lengths.answer, SHORTEST_ANSWER):
            yield f"{entry}.grpo.max_new_tokens", tokens, replace(work, lengths=_answering(work.lengths, tokens))
    else:
        for tokens in _halves(recipe.max_length, SHORTEST_ROW):
            yield f"{entry}.max_length", tokens, replace(work, lengths=work.lengths.within(tokens))
    quantised = recipe.qlora.model_copy(update={"compute": work.precision})
    for way in {"full": ("lora", "qlora"), "lora": ("qlora",), "qlora": ()}[recipe.adaptation]:
        if way == "lora" or without_four_bits(work.device) is None:
            changed = recipe.model_copy(update={"adaptation": way, "qlora": quantised})
            yield f"{entry}.adaptation", way, replace(work, recipe=changed)


def _of_answering(work: Answering, entry: str | None) -> Turned:
    for size in _halves(work.batch_size, 1):
        yield "hardware.generation_batch_size", size, replace(work, batch_size=size)
    if entry is not None:
        for tokens in _halves(work.lengths.answer, SHORTEST_ANSWER):
            yield f"{entry}.max_new_tokens", tokens, replace(work, lengths=_answering(work.lengths, tokens))


def _answering(lengths: Lengths, tokens: int) -> Lengths:
    """Return lengths with another budget behind the same prompt."""
    return Lengths(lengths.prompt, tokens, lengths.prompt + tokens)


def _halves(number: int, least: int) -> Iterator[int]:
    """Yield the powers of two below ``number``, down to ``least``."""
    power = 1 << max(0, number - 1).bit_length()
    while (power := power // 2) >= least:
        if power < number:
            yield power
