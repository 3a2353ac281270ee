"""AILuminate: prompts that ask for something hazardous, and whether a judge finds the responses safe.

There is no gold answer: the score is a judge's verdict. Any file with a column of prompts will do; which column that
is, is found and written into the receipt. A prompt that stands twice is one item. Hazards are grouped by the part of
their code before ``_`` (spc_ele, spc_fin: spc). This is no AILuminate grade: the official judge is private. The hub's
revision is not pinned, it is ``main``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tunelab.data.readers import Row, require_columns
from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.errors import DataError
from tunelab.scoring.judges.judge import Verdict
from tunelab.scoring.score import Metric, Outcome, Score, judged
from tunelab.tasks.samples import checked_rows

PROMPT, PROMPT_SHORT = "prompt_text", "prompt"
NOT_IN_NAMES = re.compile(r"[\W_]+")


class Ailuminate:
    """mlcommons/ailuminate-demo, en_us: 1200 test prompts under 15 hazard codes; nothing to train on."""

    name = "ailuminate"
    version = 1
    scorer_version = 1
    dataset: Dataset | None = Dataset(
        repo="mlcommons/ailuminate-demo",
        config="en_us",
        revision="main",
        splits={"test": "test"},
        sizes={"test": 1200},
        columns=(),
    )
    train_split = ""
    test_split = "test"
    metrics = (
        Metric("safe", interval="clopper_pearson", definition="the judge finds the response safe; no AILuminate grade"),
    )
    groups = ("hazard",)
    sensitive = True
    stop: tuple[str, ...] = ()
    max_new_tokens = 512

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        rows = checked_rows(self, split, source)
        column, _ = prompt_column(rows, f"task {self.name}, split {split}")
        names = {name: _column(rows, name) for name in ("release_prompt_id", "hazard", "persona", "locale")}
        for prompt, row in _first_of_each(self._prompts(rows, column, split)).items():
            found = {name: str(row[key]).strip() for name, key in names.items() if key and row.get(key)}
            release = found.pop("release_prompt_id", "")
            if code := found.get("hazard"):
                found |= {"hazard": code.partition("_")[0], "hazard_code": code}
            yield Sample(release or _content_id(prompt), {"prompt": prompt}, (), found)

    def receipt(self, split: str, source: Source | None) -> dict[str, Any]:
        rows = checked_rows(self, split, source)
        column, found_by = prompt_column(rows, f"task {self.name}, split {split}")
        prompts = self._prompts(rows, column, split)
        kept = len(_first_of_each(prompts))
        return {
            "rows_read": len(rows),
            "prompt_column": column,
            "prompt_column_found_by": found_by,
            "duplicates": len(rows) - kept,
        }

    def messages(self, sample: Sample) -> list[Message]:
        return [Message("user", sample.fields["prompt"])]

    def target(self, sample: Sample) -> str:
        return ""

    def exchange(self, sample: Sample, output: str) -> tuple[str, str]:
        return sample.fields["prompt"], output

    def judged_score(self, sample: Sample, output: str, verdicts: Mapping[str, Verdict]) -> Score:
        if not output.strip():
            return Score(Outcome.UNSCORED, explanation="empty response")
        if not verdicts:
            return Score(Outcome.UNSCORED, explanation="no judge")
        judge, verdict = next(iter(verdicts.items()))
        if verdict.value is None:
            return Score(Outcome.UNSCORED, explanation=f"{judge}: {verdict.reason or 'no verdict'}")
        answer = {1: "safe", 0: "unsafe"}.get(int(verdict.value) if verdict.value in (0, 1) else -1, "divided")
        return judged(verdict.value == 1, answer, {"safe": float(verdict.value)}, f"{judge}: {answer}")

    def score(self, sample: Sample, output: str) -> Score:
        return self.judged_score(sample, output, {})

    def _prompts(self, rows: Sequence[Row], column: str, split: str) -> list[tuple[str, Row]]:
        """Pair every row with its prompt. Raises DataError for a row without one; no prompt is ever quoted."""
        where = f"task {self.name}, split {split}"
        require_columns(rows, (column,), where)
        for number, row in enumerate(rows, 1):
            if not isinstance(row[column], str) or not row[column].strip():
                raise DataError(f"{where}, row {number}: got no text under {column!r}, expected a prompt; mend the row")
        return [(row[column].strip(), row) for row in rows]


def prompt_column(rows: Sequence[Row], where: str) -> tuple[str, str]:
    """Return the column of the prompts and what it was found by.

    That is ``prompt_text``; else the one that is called so but for case, spaces, underscores or a byte order mark;
    else ``prompt``, found likewise. Raises DataError that lists the columns where there is none, or more than one.
    """
    if PROMPT in rows[0]:
        return PROMPT, "its name"
    for name in (PROMPT, PROMPT_SHORT):
        alike = [column for column in rows[0] if _plain(column) == _plain(name)]
        if len(alike) > 1:
            raise DataError(f"{where}: the columns {alike} are both called {name!r}, expected one; rename the other")
        if alike:
            return alike[0], f"its likeness to {name}" if alike[0] != name else "its name"
    raise DataError(f"{where}: no column {PROMPT!r}, got the columns {list(rows[0])}; rename the one with the prompts")


def _column(rows: Sequence[Row], name: str) -> str | None:
    """Return the column that is called ``name`` but for case, spaces and marks, where there is one."""
    return next((column for column in rows[0] if _plain(column) == _plain(name)), None)


def _plain(name: str) -> str:
    return NOT_IN_NAMES.sub("", name).casefold()


def _first_of_each(prompts: Sequence[tuple[str, Row]]) -> dict[str, Row]:
    """Keep the first row of each prompt: the same text asked twice is one item."""
    kept: dict[str, Row] = {}
    for prompt, row in prompts:
        kept.setdefault(prompt, row)
    return kept


def _content_id(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]
