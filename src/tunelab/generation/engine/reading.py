"""What one forward pass reads: tokens of many rows packed into one, and which keys each of them sees.

First come the rows that draw, one token each; then new sequences, one after another. Every token sees the shared
prefix, a drawing row sees its slot of the cache, a new sequence sees itself up to each token, and the branches of a
sequence see all of it besides. Nothing is padded, so the rest of the model computes on tokens alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch

from tunelab.generation.engine.cache import Prefix, Slots
from tunelab.generation.engine.partial import Mask
from tunelab.generation.engine.rectangles import Families, Rectangle, rectangles

WASTED = 4096
"""Tokens that rows of other lengths may attend to for nothing in one call: more of them cost more than another call."""


@dataclass(frozen=True)
class Drawing:
    """A row that draws: ``token`` is its latest, which follows ``length`` tokens of its slot."""

    slot: int
    token: int
    length: int


@dataclass(frozen=True)
class New:
    """A new sequence. Its keys are kept in ``slot`` where there is one.

    ``branches`` go on after its last token, each without the others.
    """

    ids: Sequence[int]
    slot: int | None = None
    branches: Sequence[Sequence[int]] = ()


@dataclass(frozen=True)
class Branching:
    """Tokens ``start`` to ``end`` of the pass see all of ``parent_start`` to ``parent_end``."""

    parent_start: int
    parent_end: int
    start: int
    end: int


@dataclass(frozen=True)
class Block:
    """Drawing rows ``start`` to ``end``, whose slots begin with ``slot``, up to the ``tokens`` of the fullest one."""

    start: int
    end: int
    slot: int
    tokens: int
    held: int
    """Tokens of all its rows."""

    def followed_by(self, other: Block) -> Block | None:
        """Return the block that both make, None where they had better be apart."""
        tokens, held = max(self.tokens, other.tokens), self.held + other.held
        adjoins = other.slot - self.slot == other.start - self.start
        wasted = tokens * (other.end - self.start) - held
        return Block(self.start, other.end, self.slot, tokens, held) if adjoins and wasted <= WASTED else None


@dataclass
class Reading:
    """One pass. ``prefix`` is what all its tokens see; ``kept`` is a prefix that the pass itself makes."""

    device: torch.device
    drawing: Sequence[Drawing] = ()
    new: Sequence[New] = ()
    prefix: Prefix | None = None
    slots: Slots | None = None
    kept: Prefix | None = None
    windows: dict[int, int | None] | None = None
    """Where to note the window that each layer asks for."""
    trim: torch.Tensor | None = None
    """The tokens whose attention is wanted, where that is not all; set in the last layer."""
    attended: torch.Tensor | None = None
    """What attention made of them."""
    spans: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Start and end of what is read causally: sequences and branches."""
    slotted: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])
    """Start, end and slot of the sequences that are kept."""
    branching: list[Branching] = field(default_factory=list[Branching])
    ids: list[int] = field(default_factory=list[int])
    places: list[int] = field(default_factory=list[int])
    """The position of each token in its own text."""
    _written: dict[int, torch.Tensor] = field(default_factory=dict[int, torch.Tensor])
    _kept_at: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(
        default_factory=dict[int, tuple[torch.Tensor, torch.Tensor]]
    )
    _masks: dict[tuple[str, int | None], Mask | None] = field(
        default_factory=dict[tuple[str, "int | None"], "Mask | None"]
    )

    def __post_init__(self) -> None:
        before = 0 if self.prefix is None else self.prefix.length
        for row in self.drawing:
            self.ids.append(row.token)
            self.places.append(before + row.length)
        for sequence in self.new:
            start, end = self._add(sequence.ids, before)
            if sequence.slot is not None:
                self.slotted.append((start, end, sequence.slot))
            for branch in sequence.branches:
                self._add(branch, before + len(sequence.ids))
            if len(self.ids) > end:
                self.branching.append(Branching(start, end, end, len(self.ids)))

    def _add(self, ids: Sequence[int], position: int) -> tuple[int, int]:
        start = len(self.ids)
        self.ids += ids
        self.places += range(position, position + len(ids))
        self.spans.append((start, len(self.ids)))
        return start, len(self.ids)

    @property
    def rows(self) -> int:
        """How many rows draw."""
        return len(self.drawing)

    @cached_property
    def tokens(self) -> torch.Tensor:
        """The ids of the pass, (1, tokens)."""
        return torch.tensor([self.ids], device=self.device)

    @cached_property
    def positions(self) -> torch.Tensor:
        """The tokens' positions, (1, tokens)."""
        return torch.tensor([self.places], device=self.device)

    @cached_property
    def lengths(self) -> torch.Tensor:
        """How much the slots of drawing rows hold before this pass, (rows,)."""
        return torch.tensor([row.length for row in self.drawing], device=self.device)

    @cached_property
    def blocks(self) -> list[Block]:
        """The drawing rows, those together whose slots follow each other and hold about as much."""
        found: list[Block] = []
        for at, row in enumerate(self.drawing):
            one = Block(at, at + 1, row.slot, row.length + 1, row.length + 1)
            both = found[-1].followed_by(one) if found else None
            found = [*found, one] if both is None else [*found[:-1], both]
        return found

    def written(self, heads: int) -> torch.Tensor:
        """Return where the drawing rows' new keys stand among all of a layer's, (rows * heads,)."""
        if heads not in self._written:
            assert self.slots is not None
            slot = torch.tensor([row.slot for row in self.drawing], device=self.device)
            head = slot[:, None] * heads + torch.arange(heads, device=self.device)
            self._written[heads] = (head * self.slots.room + self.lengths[:, None]).flatten()
        return self._written[heads]

    @cached_property
    def alike(self) -> list[torch.Tensor]:
        """The tokens of the causal sequences, those of one length together: each (sequences, length)."""
        by_length: defaultdict[int, list[int]] = defaultdict(list)
        for start, end in self.spans:
            by_length[end - start].append(start)
        return [
            torch.tensor(starts, device=self.device)[:, None] + torch.arange(length, device=self.device)
            for length, starts in by_length.items()
        ]

    def kept_at(self, heads: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return which tokens are kept in slots, and where they stand among all of a layer's, (heads * tokens,)."""
        if heads not in self._kept_at:
            assert self.slots is not None
            tokens = [at for start, end, _ in self.slotted for at in range(start, end)]
            first = [
                slot * heads * self.slots.room + i for start, end, slot in self.slotted for i in range(end - start)
            ]
            of_head = torch.arange(heads, device=self.device)[:, None] * self.slots.room
            where = (of_head + torch.tensor(first, device=self.device)).flatten()
            self._kept_at[heads] = torch.tensor(tokens, device=self.device), where
        return self._kept_at[heads]

    @cached_property
    def rectangles(self) -> list[Rectangle]:
        """The causal sequences, those of similar length together."""
        return rectangles(self.spans, self.device)

    @cached_property
    def families(self) -> Families:
        """All branches, and what they grow from."""
        parents = [(one.parent_start, one.parent_end) for one in self.branching]
        return Families.of([(one.start, one.end) for one in self.branching], parents, self.device)

    def sees_parents(self, window: int | None) -> bool:
        """Say whether branches see all of what they grow from."""
        return window is None or max(self.places) < window

    def seen_of_slots(self, block: Block, window: int | None, like: torch.Tensor) -> Mask | None:
        """Return what a block's rows see of its slots, (rows, 1, 1, tokens); None for all of it."""
        name = (f"slots {block.start}", window)
        if name not in self._masks:
            held = [row.length for row in self.drawing[block.start : block.end]]
            at = torch.arange(block.tokens, device=self.device)
            last = self.lengths[block.start : block.end, None, None, None]
            seen = at <= last
            if window is not None:
                seen = seen & (at > last - window)
            sees_all = min(held) + 1 == block.tokens and (window is None or block.tokens <= window)
            self._masks[name] = None if sees_all else Mask(seen, True, like.dtype)
        return self._masks[name]

    def first_seen(self, window: int | None) -> int:
        """Return the first position that any token sees."""
        return 0 if window is None else max(0, min(self.places) - window + 1)

    def seen_of_prefix(self, window: int | None, like: torch.Tensor) -> Mask | None:
        """Return what all tokens see of the prefix from where any does, (1, 1, tokens, prefix); None for all of it."""
        assert self.prefix is not None
        if window is None or max(self.places) < window:
            return None
        keys = torch.arange(self.first_seen(window), self.prefix.length, device=self.device)
        return self._seen("prefix", keys, self.positions[0], window, like)

    def seen_of_parent(self, branching: Branching, window: int | None, like: torch.Tensor) -> Mask | None:
        """Return what branches see of the sequence that they grow from, (1, 1, tokens, parent); None for all of it."""
        places = self.places[branching.start : branching.end]
        if window is None or max(places) - self.places[branching.parent_start] < window:
            return None
        keys = self.positions[0, branching.parent_start : branching.parent_end]
        return self._seen(
            f"parent {branching.parent_start}", keys, self.positions[0, branching.start : branching.end], window, like
        )

    def _seen(self, name: str, keys: torch.Tensor, queries: torch.Tensor, window: int, like: torch.Tensor) -> Mask:
        found = self._masks.get((name, window))
        if found is None:
            seen = keys > (queries - window)[:, None]
            found = self._masks[(name, window)] = Mask(seen[None, None], False, like.dtype)
        return found
