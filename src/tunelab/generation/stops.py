"""Stop strings: where an answer ends although the model goes on.

A stop string inside a ``<think>`` block does not stop: what a model thinks is not its answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
OPEN = "<think>"
HIDDEN = "\0"


def open_thought(prompt: str) -> str:
    """Return the think tag that a prompt ends with, for the model to go on thinking, or the empty text."""
    return OPEN if prompt.rstrip().endswith(OPEN) else ""


def find_stop(text: str, stops: Sequence[str]) -> int:
    """Return where the first stop string begins outside a think block, or -1."""
    answer = THOUGHT.sub(lambda thought: HIDDEN * len(thought[0]), text)
    found = [at for stop in stops if (at := answer.find(stop)) >= 0]
    return min(found, default=-1)
