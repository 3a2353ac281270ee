"""Rows as a model sees them: what ``tunelab data show`` prints, made by the renderer that trains and evaluates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunelab.data.subsets import few_shots
from tunelab.formats.format import Format
from tunelab.formats.renderer import Renderer
from tunelab.models.spec import resolve
from tunelab.study.source import choose_source
from tunelab.study.spec import Data
from tunelab.tasks.task import find_task, load_samples
from tunelab.training.rows import IGNORED, labels, runs


@dataclass(frozen=True)
class Preview:
    """One row: its runs of tokens as (text, learnt), and its tokens as (id, learnt, text)."""

    id: str
    pieces: list[tuple[str, bool]]
    table: list[tuple[int, bool, str]]

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return len(self.table)

    @property
    def learnt(self) -> int:
        """Number of tokens that enter the loss."""
        return sum(learnt for _, learnt, _ in self.table)


def preview_rows(
    task_name: str, fmt: Format, model: str, loss: str, split: str | None, count: int, source: Any
) -> Iterator[Preview]:
    """Yield the first rows of a split under a format; worked examples come from the training split."""
    from tunelab.models.load import load_tokenizer

    task = find_task(task_name)
    where = choose_source(task, Data(source=source), Path.cwd())
    samples = load_samples(task, split or task.train_split, where)
    examples = few_shots(load_samples(task, task.train_split, where), fmt.few_shots.k, fmt.few_shots.seed)
    shown = {s.id for s in examples}
    renderer = Renderer(load_tokenizer(resolve(model)), fmt, [(task.messages(s), task.target(s)) for s in examples])
    for sample in [s for s in samples if s.id not in shown][:count]:
        example = renderer.example(task.messages(sample), task.target(sample))
        learnt = labels(example, loss)
        table = [
            (token, label != IGNORED, str(renderer.tokenizer.decode([token])))
            for token, label in zip(example.ids, learnt, strict=True)
        ]
        yield Preview(sample.id, runs(example.ids, learnt, renderer), table)
