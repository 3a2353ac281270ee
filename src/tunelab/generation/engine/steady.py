"""Passes in which rows only draw: all have one shape, so that a GPU records what it does and plays it again.

A small model's pass is hundreds of kernels, and starting each of them takes a processor longer than the kernel itself.
Recorded once as a CUDA graph they start together. Every slot takes part, those without a row for nothing; how far the
slots are looked at is rounded up, and each such reach has a recording of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from tunelab.generation.batches import out_of_memory
from tunelab.generation.engine.cache import Prefix, Slots
from tunelab.generation.engine.model import PackedModel
from tunelab.generation.engine.partial import Mask
from tunelab.generation.engine.reading import Block, Drawing, Reading

if TYPE_CHECKING:
    from tunelab.generation.engine.decode import Row

DEVICES = frozenset({"cuda"})
"""Kinds of devices where passes are of one shape."""
REACH, FURTHER, FAR = 64, 256, 512
"""A reach is a multiple of the first, beyond ``FAR`` of the second."""
CLOSE = 1e-2
"""Largest difference of logits, in standard deviations of them, between a pass that is played and one computed."""
WARMING = 2
"""Passes before a recording, in which libraries choose and load their kernels."""


def steps_of(model: PackedModel, slots: Slots) -> Steps | None:
    """Return what computes steady passes, where a device gains by them; autocast keeps copies that none may record."""
    steady = model.device.type in DEVICES and not torch.is_autocast_enabled(model.device.type)
    return Steps(model, slots) if steady else None


class Steady(Reading):
    """A pass in which every slot draws. Its tensors keep their places; ``set`` changes what is in them."""

    def __init__(self, device: torch.device, prefix: Prefix | None, slots: Slots, reach: int) -> None:
        super().__init__(
            device, [Drawing(slot, 0, reach - 1) for slot in range(slots.count)], prefix=prefix, slots=slots
        )
        self.tokens = torch.zeros(1, slots.count, dtype=torch.long, device=device)
        self.lengths = torch.zeros(slots.count, dtype=torch.long, device=device)
        self.positions = torch.zeros(1, slots.count, dtype=torch.long, device=device)
        self._state = torch.zeros(2, slots.count, dtype=torch.long)
        self.reach = reach
        self._before = 0 if prefix is None else prefix.length

    def set(self, rows: Sequence[tuple[int, Row]], later: int = 0) -> None:
        """Say of each slot with a row what it draws after; ``later`` puts that token so many places further on."""
        self._state.zero_()
        at = [slot for slot, _ in rows]
        self._state[0, at] = torch.tensor([row.ids[-1] for _, row in rows])
        self._state[1, at] = torch.tensor([min(row.read + later, self.reach - 1) for _, row in rows])
        state = self._state.to(self.device)
        self.tokens.copy_(state[:1])
        self.lengths.copy_(state[1])
        self.positions.copy_(state[1:] + self._before)

    def begin(self) -> None:
        """Forget what an earlier pass has derived, so that this one derives it where it may be recorded."""
        self._written.clear()
        self._masks.clear()

    def written(self, heads: int) -> torch.Tensor:
        """Return where the slots' new keys stand among all of a layer's, (slots * heads,)."""
        if heads not in self._written:
            assert self.slots is not None
            first = torch.arange(self.slots.count * heads, device=self.device).view(-1, heads) * self.slots.room
            self._written[heads] = (first + self.lengths[:, None]).flatten()
        return self._written[heads]

    def seen_of_slots(self, block: Block, window: int | None, like: torch.Tensor) -> Mask:
        """Return what each row sees of its slot, (slots, 1, 1, reach)."""
        found = self._masks.get(("slots", window))
        if found is None:
            at, last = torch.arange(block.tokens, device=self.device), self.lengths[:, None, None, None]
            seen = at <= last
            if window is not None:
                seen = seen & (at > last - window)
            found = self._masks[("slots", window)] = Mask(seen, True, like.dtype)
        return found

    def first_seen(self, window: int | None) -> int:
        """Return 0: how much of the prefix is out of sight is not known when a pass is recorded."""
        return 0

    def seen_of_prefix(self, window: int | None, like: torch.Tensor) -> Mask | None:
        """Return what each row sees of the prefix, (1, 1, slots, prefix); None for all of it."""
        if window is None:
            return None
        keys = torch.arange(self._before, device=self.device)
        return self._seen("prefix", keys, self.positions[0], window, like)


class Recorded:
    """A steady pass that is played; where there is no CUDA, or recording failed, it is computed every time."""

    def __init__(self, model: PackedModel, reading: Steady, rows: Sequence[tuple[int, Row]], pool: Any = None) -> None:
        self.reading = reading
        self._model = model
        self._pool = pool
        self._graph: Any = None
        self._logits: torch.Tensor | None = None
        if reading.device.type == "cuda":
            self._record(rows)

    @property
    def plays(self) -> bool:
        """Whether the pass was recorded."""
        return self._graph is not None

    def logits(self) -> torch.Tensor:
        """Return the logits of all slots, (slots, vocabulary), valid until the next pass."""
        if self._graph is None:
            return self._computed()
        self._graph.replay()
        assert self._logits is not None
        return self._logits

    def _computed(self) -> torch.Tensor:
        self.reading.begin()
        return self._model.logits(self.reading)

    def _record(self, rows: Sequence[tuple[int, Row]]) -> None:
        """Record the pass. What cannot be recorded, or plays something else, is computed, which is slower and said.

        It is recorded of other places than those that it is compared at, so that a number that it holds for good shows.
        Their keys lie where the rows' next ones will.
        """
        try:
            self.reading.set(rows, later=1)
            self._graph, self._logits = self._captured()
        except RuntimeError as error:
            if any(isinstance(one, Exception) and out_of_memory(one) for one in (error, error.__context__)):
                raise
            torch.cuda.synchronize()
            self._warn(str(error).strip().splitlines()[0][:160])
            return
        self.reading.set(rows)
        played = self.logits().clone()
        expected = self._computed()
        if not float((played - expected).abs().max()) <= CLOSE * float(expected.std()):
            self._graph = None
            self._warn("played again they give other logits")

    def _captured(self) -> tuple[Any, torch.Tensor]:
        stream: Any = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARMING):
                self._computed()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            logits = self._computed()
        self.reading.begin()  # what was derived lies in the graph's memory
        return graph, logits

    def _warn(self, reason: str) -> None:
        name = type(self._model.model).__name__
        warnings.warn(f"{name}: its passes cannot be recorded, so each is started anew: {reason}", stacklevel=2)


class Steps:
    """Logits of passes in which rows only draw; a recording is made when a reach is first needed."""

    def __init__(self, model: PackedModel, slots: Slots) -> None:
        self._model = model
        self._slots = slots
        self._room = slots.room
        self._forget()

    def _forget(self) -> None:
        self._recorded: dict[int, Recorded] = {}
        self._pool = self._new_pool()
        """The memory of all recordings, of which one is played at a time. It goes with the last of them, or with one
        that failed, and nothing can be recorded there again."""

    def _new_pool(self) -> Any:
        return torch.cuda.graph_pool_handle() if self._model.device.type == "cuda" else None

    def logits(self, rows: Sequence[tuple[int, Row]]) -> torch.Tensor:
        """Return the logits after the latest token of each row, by slot, (rows, vocabulary)."""
        recorded = self._of(rounded(max(row.read for _, row in rows) + 1), rows)
        recorded.reading.set(rows)
        made = recorded.logits()
        return (
            made
            if len(rows) == self._slots.count
            else made[torch.tensor([slot for slot, _ in rows], device=made.device)]
        )

    def _of(self, reach: int, rows: Sequence[tuple[int, Row]]) -> Recorded:
        self._slots.make_room(reach)
        if self._slots.room != self._room:  # keys have moved
            self._forget()
            self._room = self._slots.room
        if reach not in self._recorded:
            reading = Steady(self._model.device, self._model.prefix, self._slots, reach)
            made = self._recorded[reach] = Recorded(self._model, reading, rows, self._pool)
            self._pool = self._pool if made.plays else self._new_pool()
        return self._recorded[reach]


def rounded(tokens: int) -> int:
    """Return a reach for so many tokens."""
    step = REACH if tokens <= FAR else FURTHER
    return -(-tokens // step) * step
