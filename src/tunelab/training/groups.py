"""A group of rollouts: the completions of one prompt in one step, a line of ``rollouts.jsonl``.

The line has the step (from 0), the prompt's id, of several tasks its own, the rewards and the unweighted components
they are the sum of, how many completions the budget cut or gave no answer, why judges said nothing of some, and, when
memory ran out, how many were drawn together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ROLLOUTS = "rollouts.jsonl"
SILENT = "silent"
"""The field that says why judges gave no verdict: by judge and reason the number of completions."""
Rewards = Sequence[float | None]
"""None where a completion was not scored."""


def differ(rewards: Rewards) -> bool:
    """Say whether a group teaches anything: scored completions of it earned different rewards."""
    return len({reward for reward in rewards if reward is not None}) > 1


def teaches(group: Mapping[str, Any]) -> bool:
    """Say whether a group's completions differ in what the task, or a judge, says of them.

    Form and length differ soon; without a difference in what is right, they would be all that is learnt.
    """
    components: Mapping[str, Rewards] = group["components"]
    return any(differ(values) for name, values in components.items() if name not in ("format", "length"))


def fewest_together(groups: Iterable[Mapping[str, Any]], declared: int) -> int:
    """Return the smallest batch that completions were drawn in."""
    return min((group.get("drawn_together", declared) for group in groups), default=declared)
