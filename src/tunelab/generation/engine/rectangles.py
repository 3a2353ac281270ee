"""Attention of new sequences in few calls, for devices that are fast at much and slow at many.

Sequences of similar length lie in a rectangle, padded on the right, where nothing sees what is padded. Branches see
the sequences that they grow from in a rectangle too, under a mask of the parents' lengths.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tunelab.generation.engine.partial import Mask, Part, Scores, attend, attend_causally

ONE_BY_ONE = frozenset({"cpu"})
"""Kinds of devices where a call costs next to nothing."""

Span = tuple[int, int]


@dataclass(frozen=True)
class Rectangle:
    """Spans of a pass's tokens, a line each. ``at`` (lines, longest) says which token stands where.

    ``kept`` are the places, counted through the lines, that are no padding; ``tokens`` are the tokens there.
    """

    at: torch.Tensor
    kept: torch.Tensor
    tokens: torch.Tensor

    @classmethod
    def of(cls, spans: Sequence[Span], device: torch.device) -> Rectangle:
        """Return the rectangle of spans; padding repeats a span's last token."""
        start, end = torch.tensor(spans).T
        column = torch.arange(int((end - start).max()))
        at = torch.minimum(start[:, None] + column, end[:, None] - 1)
        kept = (column < (end - start)[:, None]).flatten().nonzero()[:, 0]
        return cls(at.to(device), kept.to(device), at.flatten()[kept].to(device))


@dataclass(frozen=True)
class Families:
    """Branches, those of a parent in a line, and the parents, with which of their line's places are no padding."""

    branches: Rectangle
    parents: torch.Tensor
    seen: torch.Tensor

    @classmethod
    def of(cls, branches: Sequence[Span], parents: Sequence[Span], device: torch.device) -> Families:
        """Return both rectangles; ``seen`` is (lines, 1, 1, longest parent)."""
        above = Rectangle.of(parents, device)
        lengths = torch.tensor([end - start for start, end in parents], device=device)
        seen = torch.arange(above.at.shape[1], device=device) < lengths[:, None]
        return cls(Rectangle.of(branches, device), above.at, seen[:, None, None])


def rectangles(spans: Sequence[Span], device: torch.device) -> list[Rectangle]:
    """Return spans in rectangles: together are those whose lengths need as many binary digits."""
    alike: defaultdict[int, list[Span]] = defaultdict(list)
    for start, end in spans:
        alike[(end - start - 1).bit_length()].append((start, end))
    return [Rectangle.of(group, device) for group in alike.values()]


def attend_within(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    within: Sequence[Rectangle],
    scores: Scores,
    window: int | None,
) -> Part:
    """Attend causally within each span; all are (heads, tokens, width). What no rectangle has stays unset."""
    exact = torch.promote_types(query.dtype, torch.float32)
    output = query.new_empty(*query.shape[:2], value.shape[-1], dtype=exact)
    sums = query.new_empty(query.shape[:2], dtype=exact)
    for one in within:
        asked, keys, values = (states[:, one.at].transpose(0, 1) for states in (query, key, value))
        made, normalisers = attend_causally(asked, keys, values, scores, window)
        output[:, one.tokens] = made.transpose(0, 1).flatten(1, 2)[:, one.kept].to(exact)
        sums[:, one.tokens] = normalisers.transpose(0, 1).flatten(1, 2)[:, one.kept].to(exact)
    return output, sums


def attend_to_parents(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, families: Families, scores: Scores
) -> Part:
    """Let branches attend over their parents: (heads, tokens of branches, width), as ``branches.tokens`` say."""
    lines, longest = families.branches.at.shape
    heads, _, width = query.shape
    shared = key.shape[0]
    asked = query[:, families.branches.at].reshape(shared, -1, lines, longest, width).permute(2, 0, 1, 3, 4)
    keys, values = (states[:, families.parents].transpose(0, 1) for states in (key, value))
    seen = Mask(families.seen, True, query.dtype)
    made, sums = attend(asked.reshape(lines, shared, -1, width), keys, values, scores, seen)
    kept = families.branches.kept
    output = made.reshape(lines, shared, -1, longest, made.shape[-1]).permute(1, 2, 0, 3, 4)
    normalisers = sums.reshape(lines, shared, -1, longest).permute(1, 2, 0, 3)
    return (
        output.reshape(heads, lines * longest, -1)[:, kept],
        normalisers.reshape(heads, lines * longest)[:, kept],
    )
