"""Functions that go on in turns, one at a time, and meet: none goes on before all have asked, and all get answers.

Each is a thread, and only the one whose turn it is runs, so that a library's own loop can be stopped in its midst and
gone on with. Each has to itself what is kept for a whole process, as if it ran alone: the random draws, and what
accelerate knows of the gradients that are being accumulated. What all have asked is answered in the thread that drives
them. An error of any ends all; so does an interrupt, which reaches the driver.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from accelerate.state import GradientState

Made = TypeVar("Made")
Meet = Callable[[Any], Any]
"""Called with what is asked, returns the answer once all have asked."""


def in_lockstep(
    functions: Sequence[Callable[[Meet], Made]], answer: Callable[[list[Any]], Sequence[Any]]
) -> list[Made]:
    """Return what the functions return; all must meet equally often.

    ``answer`` gets what all have asked, in the order of the functions, and returns an answer for each.
    """
    turns = [_Turn(function) for function in functions]
    answers: Sequence[Any] = [None] * len(turns)
    try:
        while True:
            asked = [turn.go_on(reply) for turn, reply in zip(turns, answers, strict=True)]
            if all(turn.ended for turn in turns):
                return [turn.made[0] for turn in turns]
            if any(turn.ended for turn in turns):
                raise RuntimeError(
                    "in_lockstep: a function ended before the others, expected all to meet equally often"
                )
            answers = answer(asked)
    finally:
        for turn in turns:
            turn.stop()


class _Stopped(BaseException):
    """Ends a thread that is not to go on."""


class _Turn(Generic[Made]):
    """A function in a thread that runs only while ``go_on`` waits for it."""

    def __init__(self, function: Callable[[Meet], Made]) -> None:
        self.ended = False
        self.made: list[Made] = []
        self._function = function
        self._error: BaseException | None = None
        self._said: SimpleQueue[Any] = SimpleQueue()
        self._told: SimpleQueue[Any] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="lockstep", daemon=True)
        self._states = _of_process()

    def go_on(self, reply: Any) -> Any:
        """Let the function go on with an answer; return what it asks next, or None once it has ended."""
        before = _of_process()
        _set(self._states)
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._told.put(reply)
        asked = self._said.get()
        self._states = _of_process()
        _set(before)
        if self._error:
            raise self._error
        return asked

    def stop(self) -> None:
        """End the thread at its next meeting."""
        if self._thread.ident is not None:
            self._told.put(_Stopped())
            self._thread.join()

    def _meet(self, asked: Any) -> Any:
        self._said.put(asked)
        reply = self._told.get()
        if isinstance(reply, _Stopped):
            raise reply
        return reply

    def _run(self) -> None:
        try:
            self.made.append(self._function(self._meet))
        except _Stopped:
            return
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits for this one
            self._error = error
        self.ended = True
        self._said.put(None)


def _of_process() -> tuple[Any, ...]:
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    draws = random.getstate(), np.random.get_state(), torch.get_rng_state(), gpus
    return *draws, dict(GradientState._shared_state)  # pyright: ignore[reportPrivateUsage]


def _set(states: tuple[Any, ...]) -> None:
    own, numbers, tensors, gpus, accumulating = states
    random.setstate(own)
    np.random.set_state(numbers)
    torch.set_rng_state(tensors)
    if gpus is not None:
        torch.cuda.set_rng_state_all(gpus)
    shared = GradientState._shared_state  # pyright: ignore[reportPrivateUsage]
    shared.clear()
    shared.update(accumulating)
