r"""What the tasks of MATH (Hendrycks et al. 2021) share: how a problem is asked, and how its rows become samples.

An answer goes into ``\boxed{}``, as in the data set's solutions. A sample's id comes from what its row says, so a
problem has one id in every order of the rows, and the same one in ``math`` and ``math500``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Source
from tunelab.scoring.latex.answers import gold_of
from tunelab.tasks.row_keys import RowKeys
from tunelab.tasks.samples import checked_rows
from tunelab.tasks.task import Task

ASK = r"Put the final answer into \boxed{}."
GROUPS = ("subject", "level")
MAX_NEW_TOKENS = 1024
"""Room for a worked solution; what is cut is counted apart."""


def asked(sample: Sample) -> list[Message]:
    """Ask a problem, and for its answer in a box."""
    return [Message("user", f"{sample.fields['problem']}\n\n{ASK}")]


def accepted(sample: Sample) -> tuple[str, ...]:
    """Return the answers of a problem's solutions."""
    return tuple(filter(None, map(gold_of, sample.targets)))


def solved(task: Task, split: str, source: Source | None, subject: str) -> Iterator[Sample]:
    """Yield a split's samples; ``subject`` is the column that names the subject."""
    keys = RowKeys()
    for index, row in enumerate(checked_rows(task, split, source)):
        known = {"subject": row[subject], "level": level_of(row["level"]), "index": index}
        if "unique_id" in row:
            known["id"] = row["unique_id"]
        key = keys.key(row["problem"], row["solution"])
        yield Sample(f"{split}-{key}", {"problem": row["problem"]}, (row["solution"],), known)


def level_of(level: Any) -> Any:
    """Return a level as MATH writes it: "Level 3", where MATH-500 has the number alone."""
    return f"Level {level}" if str(level).isdigit() else level
