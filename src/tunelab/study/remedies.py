"""Which setting makes a step fit into the memory that there is, by the same estimate.

Settings are tried from those that change least: the machine's first, which leave the experiment as it is, then what
an answer or a row may be long, and the way of training last. The first value that fits alone is the remedy; where
none does, settings are turned one after the other as far as is needed, and those that were not are taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from tunelab.generation.footprint import Answering
from tunelab.models.device import without_four_bits
from tunelab.models.footprint import Lengths
from tunelab.study.footprints import Work, total_of
from tunelab.training.footprint import Training
from tunelab.training.sizes import rows_per_step

SHORTEST_ANSWER, SHORTEST_ROW = 16, 128
"""Tokens below which nothing is proposed."""

Value = int | str | bool
Turned = TypeVar("Turned", Training, Answering)
Turns = Callable[[Turned], Iterator[tuple[Value, Turned]]]
"""Yields what a setting may be instead, from near to far, with the work that it then is."""


@dataclass(frozen=True)
class Remedy:
    """Settings by their path in the study with values that fit, most often one, and what the step then takes."""

    settings: Mapping[str, Value]
    total: int


def remedy(work: Work, room: int, entry: str | None, hardware: Collection[str]) -> Remedy | None:
    """Return what makes ``work`` fit into ``room``, or None where nothing does.

    ``entry`` is the path of what the study calls the step, ``hardware`` what may be set of the machine.
    """
    if isinstance(work, Training):
        work = replace(work, gradient_checkpointing=work.gradient_checkpointing or work.may_checkpoint)
        return _found(work, room, _allowed(_of_training(work, entry), hardware))
    return _found(work, room, _allowed(_of_answering(entry), hardware))


def _allowed(turns: Mapping[str, Turns[Turned]], hardware: Collection[str]) -> dict[str, Turns[Turned]]:
    machine = "hardware."
    return {k: t for k, t in turns.items() if not k.startswith(machine) or k.removeprefix(machine) in hardware}


def _found(work: Turned, room: int, turns: Mapping[str, Turns[Turned]]) -> Remedy | None:
    for key, turn in turns.items():
        for value, turned in turn(work):
            if (total := total_of(turned)) <= room:
                return Remedy({key: value}, total)
    return _together(work, room, turns)


def _together(work: Turned, room: int, turns: Mapping[str, Turns[Turned]]) -> Remedy | None:
    """Turn one setting after the other as far as it is needed, then take back what was not, the weightiest first."""
    settings: dict[str, Value] = {}
    now = work
    for key, turn in turns.items():
        for value, turned in turn(now):
            if total_of(now) > room and total_of(turned) < total_of(now):
                settings[key], now = value, turned
    if total_of(now) > room:
        return None
    for key in reversed(list(settings)):
        fewer = {name: value for name, value in settings.items() if name != key}
        if total_of(less := _turned(work, fewer, turns)) <= room:
            settings, now = fewer, less
    return Remedy(settings, total_of(now))


def _turned(work: Turned, settings: Mapping[str, Value], turns: Mapping[str, Turns[Turned]]) -> Turned:
    for key, chosen in settings.items():
        work = next(turned for value, turned in turns[key](work) if value == chosen)
    return work


def _of_training(work: Training, entry: str | None) -> dict[str, Turns[Training]]:
    found: dict[str, Turns[Training]] = {"hardware.micro_batch_size": _rows}
    if not work.gradient_checkpointing:
        found["hardware.gradient_checkpointing"] = lambda w: iter([(True, replace(w, gradient_checkpointing=True))])
    if work.recipe.method == "grpo":
        found["hardware.rollout_batch_size"] = lambda w: (
            (n, replace(w, drawn_together=n)) for n in _halves(w.drawn_together, 1)
        )
    if entry is not None and work.recipe.method == "grpo":
        found[f"{entry}.grpo.max_new_tokens"] = _budgets
    elif entry is not None:
        found[f"{entry}.max_length"] = lambda w: (
            (n, replace(w, lengths=w.lengths.within(n))) for n in _halves(w.recipe.max_length, SHORTEST_ROW)
        )
    return found if entry is None else {**found, f"{entry}.adaptation": _adaptations}


def _of_answering(entry: str | None) -> dict[str, Turns[Answering]]:
    batch: dict[str, Turns[Answering]] = {
        "hardware.generation_batch_size": lambda w: ((n, replace(w, batch_size=n)) for n in _halves(w.batch_size, 1))
    }
    return batch if entry is None else {**batch, f"{entry}.max_new_tokens": _budgets}


def _rows(work: Training) -> Iterator[tuple[Value, Training]]:
    batch = rows_per_step(work.recipe)
    return ((n, replace(work, micro_batch_size=n)) for n in range(work.rows - 1, 0, -1) if batch % n == 0)


def _budgets(work: Turned) -> Iterator[tuple[Value, Turned]]:
    prompt = work.lengths.prompt
    for tokens in _halves(work.lengths.answer, SHORTEST_ANSWER):
        yield tokens, replace(work, lengths=Lengths(prompt, tokens, prompt + tokens))


def _adaptations(work: Training) -> Iterator[tuple[Value, Training]]:
    recipe = work.recipe
    quantised = recipe.qlora.model_copy(update={"compute": work.precision})
    for way in {"full": ("lora", "qlora"), "lora": ("qlora",), "qlora": ()}[recipe.adaptation]:
        if way == "lora" or without_four_bits(work.device) is None:
            yield way, replace(work, recipe=recipe.model_copy(update={"adaptation": way, "qlora": quantised}))


def _halves(number: int, least: int) -> Iterator[int]:
    """Yield the powers of two below ``number``, down to ``least``."""
    power = 1 << max(0, number - 1).bit_length()
    while (power := power // 2) >= least:
        if power < number:
            yield power
