"""Scores of many outputs: one after the other, and programs several at a time.

A program spends its time in a sandbox, so that on a machine with many cores most of them would wait. Other scorers
compute here, one at a time: nothing is said about what a user's scorer may share.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tunelab.data.sample import Sample
from tunelab.tasks.mixed import own_task
from tunelab.tasks.sandboxed import runs_code
from tunelab.tasks.task import Task

Made = TypeVar("Made")


def score_all(task: Task, samples: Sequence[Sample], score: Callable[[int], Made]) -> list[Made]:
    """Return ``score(i)`` for the output of every sample, in order."""
    places = range(len(samples))
    programs = [i for i in places if runs_code(own_task(task, samples[i]))]
    if len(programs) < 2:
        return [score(i) for i in places]
    with ThreadPoolExecutor(min(len(programs), os.cpu_count() or 1)) as threads:
        waiting = {i: threads.submit(score, i) for i in programs}
        found = {i: score(i) for i in places if i not in waiting}
        return [waiting[i].result() if i in waiting else found[i] for i in places]
