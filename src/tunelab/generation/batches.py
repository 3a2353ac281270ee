"""Batches: requests sorted by length, run one batch at a time, resumable, and halved when memory runs out.

The batches are a function of the requests and the batch size alone. A run that was killed resumes at the first
batch that is not whole and so repeats exactly the batches that an undisturbed run would have made: batch-mates
change padding, padding changes rounding, and rounding can flip an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from tunelab.errors import StepError
from tunelab.generation.decoding import Request

Asked = TypeVar("Asked", bound=Request)
Made = TypeVar("Made")


def plan_batches(requests: Sequence[Asked], size: int) -> list[list[Asked]]:
    """Sort by prompt length, longest first, and cut into batches: little padding, and trouble shows early."""
    ordered = sorted(requests, key=lambda r: (-len(r.ids), r.id, r.sample))
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def run_batches(
    batches: Sequence[Sequence[Asked]], run: Callable[[Sequence[Asked]], Sequence[Made]]
) -> Iterator[list[Made]]:
    """Yield what is made of each batch. One that does not fit is split, and later ones keep to the smaller size."""
    limit = max((len(batch) for batch in batches), default=1)
    for batch in batches:
        made, limit = run_within(batch, run, limit)
        yield made


def run_within(
    batch: Sequence[Asked], run: Callable[[Sequence[Asked]], Sequence[Made]], limit: int
) -> tuple[list[Made], int]:
    """Return what is made of a batch in parts of at most ``limit``, and the limit that fitted into memory.

    Raises StepError when a single request does not fit.
    """
    made: list[Made] = []
    waiting = list(batch)
    while waiting:
        try:
            made += run(waiting[:limit])
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            limit = halved(min(limit, len(waiting)), error)
            continue
        waiting = waiting[limit:]
    return made, limit


def halved(limit: int, error: Exception) -> int:
    """Return half of a number of samples that did not fit. Raises StepError for one."""
    if limit == 1:
        raise StepError("out of memory with one sample a batch; use a smaller model, max_new_tokens or k") from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return limit // 2


def out_of_memory(error: Exception) -> bool:
    """Say whether an error means that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
