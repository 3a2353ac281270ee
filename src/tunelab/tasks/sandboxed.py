"""Tasks whose scoring runs code that a model wrote: which they are, and that nothing of it runs unsafely."""

from __future__ import annotations

from tunelab.scoring.code.sandbox import Choice, require
from tunelab.tasks.mixed import Mixed
from tunelab.tasks.task import Task

SANDBOX = "sandbox"
"""What such a task has: how the code is kept in."""


def runs_code(task: Task) -> bool:
    """Say whether scoring runs code that a model wrote: a task that does has a ``sandbox``, which is set for it."""
    return hasattr(task, SANDBOX) or (isinstance(task, Mixed) and any(map(runs_code, task.members.values())))


def refuse_unsafe(task: Task, sandbox: Choice) -> None:
    """Raise StepError in one line where a task runs code and this machine cannot keep it in."""
    if runs_code(task):
        require(sandbox)
