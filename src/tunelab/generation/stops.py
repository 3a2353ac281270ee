"""Stop strings: where an answer ends although the model goes on.

A stop string inside a ``<think>`` block does not stop: what a model thinks is not its answer.
"""

from __future__ import annotations

from collections.abc import Sequence

THINK, THOUGHT = "<think>", "</think>"


def find_stop(text: str, stops: Sequence[str]) -> int:
    """Return where the first stop string begins outside a think block, or -1."""
    start = text.rfind(THOUGHT) + len(THOUGHT) if THOUGHT in text else 0
    if THINK in text[start:]:
        return -1
    found = [at for stop in stops if (at := text.find(stop, start)) >= 0]
    return min(found, default=-1)
