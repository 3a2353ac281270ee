"""Rows as a model sees them: what ``tunelab data show`` prints, made by the renderer that trains and evaluates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Source
from tunelab.data.subsets import few_shots
from tunelab.errors import DataError
from tunelab.formats.format import FewShots, Format
from tunelab.models.spec import TINY, resolve, resolve_tokenizer
from tunelab.study.made_splits import identity, learnt_from, made, part_of, test_split, training_split
from tunelab.study.read import bundled, read_file, read_study
from tunelab.study.source import choose_source
from tunelab.study.spec import Data
from tunelab.study.worked_examples import examples_file, read_examples
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import load_samples
from tunelab.tasks.task import Task, is_sensitive
from tunelab.training.rows import IGNORED, labels, runs

EXCERPT = 60
"""Characters that are shown of a message of a sensitive task."""


@dataclass(frozen=True)
class Subject:
    """Whose rows are looked at: a task's own, or those of a study, with its model, formats and files."""

    task: str
    model: str
    formats: Mapping[str, Format]
    data: Data
    folder: Path


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


def find_subject(name: str) -> Subject:
    """Return a study by file or bundled name (of a sweep, its first point), or a task with the bundled model."""
    if name not in bundled() and Path(name).suffix not in (".yaml", ".yml"):
        return Subject(name, TINY, {}, Data(), Path.cwd())
    study = read_study(name)[0][1]
    loaded = (study.model, *study.models.values(), *(entry.model for entry in study.train.values()), TINY)
    model = next(name for name in loaded if isinstance(name, str))  # a server keeps its tokenizer to itself
    called = study.model_names.get(model, model)
    return Subject(study.first_task, called, study.formats, study.data, read_file(name).folder)


def _shown(task: Task, sample: Sample) -> list[Message]:
    """Return what a model reads; of texts that nobody should have to read, the first words."""
    messages = task.messages(sample)
    if not is_sensitive(task):
        return messages
    return [Message(m.role, m.content if len(m.content) <= EXCERPT else f"{m.content[:EXCERPT]}…") for m in messages]


def preview_rows(subject: Subject, fmt: Format, loss: str, split: str | None, count: int) -> Iterator[Preview]:
    """Yield the first rows of a split under a format; worked examples come from the training split."""
    from tunelab.models.load import load_renderer

    task = find_task(subject.task, subject.folder)
    where = choose_source(task, subject.data, subject.folder)
    if subject.data.files and where is None:
        raise DataError(f"task {task.name}: makes its own rows, got files for {', '.join(subject.data.files)}")
    shown_split = split or learnt_from(subject.data, task) or test_split(subject.data, task)
    samples = _samples(task, shown_split, subject, where)
    examples = _examples(task, fmt.few_shots, subject, where)
    shown = {s.id for s in examples}
    shots = [(task.messages(s), task.target(s)) for s in examples[: fmt.few_shots.k]]
    renderer = load_renderer(resolve(subject.model, subject.folder), fmt, shots)
    for sample in [s for s in samples if s.id not in shown][:count]:
        example = renderer.example(_shown(task, sample), task.target(sample))
        learnt = labels(example, loss)
        table = [
            (token, label != IGNORED, str(renderer.tokenizer.decode([token])))
            for token, label in zip(example.ids, learnt, strict=True)
        ]
        yield Preview(sample.id, runs(example.ids, learnt, renderer), table)


def _examples(task: Task, shots: FewShots, subject: Subject, source: Source | None) -> list[Sample]:
    """Return the worked examples that are left out of training."""
    if shots.k == 0:
        return []
    split = training_split(subject.data, subject.task, subject.folder)
    if path := examples_file(shots, subject.folder):
        return read_examples(path, task, split)[0]
    return few_shots(_samples(task, split, subject, source), shots.chosen, shots.seed)


def _samples(task: Task, split: str, subject: Subject, source: Source | None) -> list[Sample]:
    """Return the samples of a split of the data set, or of one that the study makes."""
    own = made(subject.data, task, split)
    if own is None:
        return load_samples(task, split, source)
    tokenizer = resolve_tokenizer(own.longest.tokenizer, subject.folder) if own.longest else None
    how = identity(own, tokenizer and tokenizer.identity)
    return part_of(load_samples(task, own.of, source), task, split, how, tokenizer)[0]
