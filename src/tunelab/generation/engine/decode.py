"""Drawing text: rows leave when they end, and waiting ones take their slots.

A pass reads one token of every row that draws, and the prompts of those that begin. Rows with equal prompts read it
once: the second one copies the keys from the slot of the first. Which rows are together changes the order of additions
and nothing else; every draw has its own random number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from tunelab.generation.batches import halved, out_of_memory
from tunelab.generation.decoding import Request
from tunelab.generation.engine.cache import Slots
from tunelab.generation.engine.model import PackedModel
from tunelab.generation.engine.picking import Picker
from tunelab.generation.engine.reading import Drawing, New, Reading
from tunelab.generation.engine.steady import steps_of
from tunelab.generation.footprint import LARGEST_PASS, SAMPLED, widened


@dataclass
class Drawn:
    """New ids of a request and, where these are wanted, their log-probabilities at the temperature."""

    ids: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])


@dataclass
class Row:
    """A request at work. ``ids`` are its prompt after the prefix and what it has drawn; ``read`` of them are cached."""

    request: Request
    index: int
    prompt: int
    ids: list[int]
    drawn: Drawn = field(default_factory=Drawn)
    read: int = 0

    @property
    def owed(self) -> int:
        """How many ids the next pass reads."""
        return len(self.ids) - self.read


class Decoder:
    """Draws with one packed model, in the memory of ``slots`` whole texts.

    ``ended`` says whether a request has all its ids.
    """

    def __init__(
        self, model: PackedModel, picker: Picker, slots: int, ended: Callable[[Request, list[int]], bool]
    ) -> None:
        self.slots = slots
        self._model = model
        self._picker = picker
        self._ended = ended
        self._widens = True

    def draw(self, requests: Sequence[Request]) -> list[Drawn]:
        """Draw for all requests, in their order. With fewer slots from where memory ran out.

        Raises StepError when a single row does not fit.
        """
        made: dict[int, Drawn] = {}
        while len(made) < len(requests):
            waiting = [(index, request) for index, request in enumerate(requests) if index not in made]
            rows = min(self.slots, len(waiting))
            try:
                rows = self._rows([request for _, request in waiting])
                Table(self._model, self._picker, rows, self._ended, waiting, made).run()
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                if rows > self.slots:
                    self._widens = False
                else:
                    self.slots = halved(rows, error)
        return [made[index] for index in range(len(requests))]

    def _rows(self, waiting: Sequence[Request]) -> int:
        """Return how many rows to draw at a time: as many as have room where ``slots`` whole texts would have it.

        What they share is held once, so more of them fit; a row's logits take as much as ever.
        """
        prefix = self._model.prefix if self._widens else None
        shared = 0 if prefix is None else prefix.size
        longest = max(len(self._model.own(request.ids)) + self._picker.budget(request) for request in waiting)
        own = self._model.vocabulary * SAMPLED + longest * (shared // prefix.length if prefix else 0)
        return min(widened(self.slots, shared, own), len(waiting))


class Table:
    """The rows at work, by slot, and those that wait. What is finished goes into ``made``."""

    def __init__(
        self,
        model: PackedModel,
        picker: Picker,
        slots: int,
        ended: Callable[[Request, list[int]], bool],
        waiting: Sequence[tuple[int, Request]],
        made: dict[int, Drawn],
    ) -> None:
        prompts: dict[tuple[int, ...], int] = {}
        rows = [
            Row(request, index, prompts.setdefault(tuple(request.ids), len(prompts)), model.own(request.ids))
            for index, request in waiting
        ]
        self._waiting = deque(sorted(rows, key=lambda row: -len(row.ids)))
        self._model = model
        self._picker = picker
        self._ended = ended
        self._made = made
        self._rows: list[Row | None] = [None] * slots
        self._slots = Slots(slots, max(len(row.ids) + picker.budget(row.request) for row in rows))
        self._steps = steps_of(model, self._slots)

    @property
    def _fewest(self) -> int:
        """How many slots are filled at once: where steady passes are fast, beginners hold all others up."""
        return 1 if self._steps is None else max(1, len(self._rows) // 8)

    def run(self) -> None:
        """Draw until nothing is left."""
        while self._waiting or any(self._rows):
            self._admit()
            if not self._waiting and self._steps is None:
                self._close_ranks()
            self._pass()

    def _admit(self) -> None:
        """Give free slots to waiting rows. A row whose prompt is being read waits a pass, and its slot for it."""
        free = [slot for slot, row in enumerate(self._rows) if row is None]
        if not free or not self._waiting or len(free) < min(len(self._waiting), self._fewest):
            return
        holders = {row.prompt: slot for slot, row in enumerate(self._rows) if row is not None}
        begun: set[int] = set()
        tokens, kept = 0, deque[Row]()
        while self._waiting and free:
            row = self._waiting.popleft()
            slot = free.pop(0)
            if row.prompt in begun:
                kept.append(row)
                continue
            if row.prompt in holders:
                self._copy(holders[row.prompt], slot, row)
            elif tokens and tokens + row.owed > LARGEST_PASS:
                kept.append(row)
                break
            else:
                begun.add(row.prompt)
                tokens += row.owed
            self._rows[slot] = row
        self._waiting.extendleft(reversed(kept))

    def _copy(self, source: int, slot: int, row: Row) -> None:
        row.read = row.owed - 1
        self._slots.make_room(len(row.ids))
        self._slots.copy(source, slot, row.read)

    def _close_ranks(self) -> None:
        """Let the rows have the first slots, so that a pass reads no empty one."""
        while self._rows and self._rows[-1] is None:
            self._rows.pop()
        for slot in [slot for slot, row in enumerate(self._rows) if row is None]:
            if slot >= len(self._rows):
                break
            moved = self._rows.pop()
            assert moved is not None
            if moved.read:
                self._slots.copy(len(self._rows), slot, moved.read)
            self._rows[slot] = moved
            while self._rows and self._rows[-1] is None:
                self._rows.pop()

    def _pass(self) -> None:
        """Read what the rows owe, and draw a token for each."""
        rows = [(slot, row) for slot, row in enumerate(self._rows) if row is not None]
        if self._steps is not None:
            beginning = [(slot, row) for slot, row in rows if row.owed > 1]
            if not beginning:
                return self._pick(rows, self._steps.logits(rows))
            rows = beginning
        rows.sort(key=lambda pair: pair[1].owed > 1)
        drawing = [Drawing(slot, row.ids[-1], row.read) for slot, row in rows if row.owed == 1]
        new = [New(row.ids, slot) for slot, row in rows if row.owed > 1]
        self._slots.make_room(max(len(row.ids) for _, row in rows))
        reading = Reading(self._model.device, drawing=drawing, new=new, prefix=self._model.prefix, slots=self._slots)
        wanted = [*range(len(drawing)), *(end - 1 for _, end, _ in reading.slotted)]
        return self._pick(rows, self._model.logits(reading, wanted))

    def _pick(self, rows: Sequence[tuple[int, Row]], logits: torch.Tensor) -> None:
        tokens, logprobs = self._picker.pick(logits, [row for _, row in rows])
        for (slot, row), token, logprob in zip(rows, tokens, logprobs, strict=True):
            row.drawn.logprobs += logprob
            self._take(slot, row, token)

    def _take(self, slot: int, row: Row, token: int) -> None:
        """Add a drawn token to its row; the row leaves where that ends it."""
        row.read = len(row.ids)
        row.ids.append(token)
        row.drawn.ids.append(token)
        if self._ended(row.request, row.drawn.ids):
            self._made[row.index] = row.drawn
            self._rows[slot] = None
