"""Outputs from files: which rows of a task another program's rows answer, and whether they answer all of them.

A row is matched by the sample's id; one that has none, by its document: the sample whose every text the document has,
where ``doc_id`` says, else anywhere in the task's rows, where there is exactly one. A document without our texts counts
where ``doc_id`` points if its target is one that the sample accepts. Nothing is matched by position alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from tunelab.data.foreign import Foreign
from tunelab.data.sample import Sample
from tunelab.errors import DataError, counted
from tunelab.study.score_file import by_id

BY_ID, BY_BOTH, BY_DOC, BY_TARGET = "id", "doc_id and document", "document", "doc_id and target"
Draw = tuple[str, int]
"""A sample's id and the draw."""


@dataclass(frozen=True)
class Matched:
    """Which draw each row of a file gives, and what did not fit."""

    answers: Mapping[Draw, tuple[str, Foreign]]
    """Each draw's output and the row that it is from; a row's metrics are those of all rows that repeat it."""
    ways: Mapping[str, int]
    """How rows were matched, with counts."""
    unmatched: Sequence[str]
    doubled: Sequence[str]
    missing: Sequence[str]
    """Ids of samples without an output."""


def match(rows: Sequence[Foreign], samples: Sequence[Sample]) -> Matched:
    """Find the sample of every row. The same output under another filter of the harness is no second answer."""
    finder = _Finder(samples)
    answers: dict[Draw, tuple[str, Foreign]] = {}
    ways: Counter[str] = Counter()
    unmatched: list[str] = []
    doubled: list[str] = []
    for row in rows:
        found = finder.find(row)
        if found is None:
            unmatched.append(row.where)
            continue
        sample, way = found
        ways[way] += 1
        for draw, output in enumerate(row.outputs, row.first_draw):
            before = answers.get((sample.id, draw))
            if before is None:
                answers[sample.id, draw] = output, row
            elif before[0] == output and not before[1].metrics.keys() & row.metrics.keys() and row.metrics:
                answers[sample.id, draw] = output, _with_metrics(before[1], row)
            else:
                doubled.append(f"{sample.id} in {before[1].where} and {row.where}")
    answered = {item for item, _ in answers}
    missing = [s.id for s in samples if s.id not in answered]
    return Matched(answers, ways, unmatched, list(dict.fromkeys(doubled)), missing)


def refuse_gaps(found: Matched, total: int, partial: str, file: str) -> None:
    """Raise DataError for samples with two answers, and for samples without one unless that is declared."""
    if found.doubled:
        raise DataError(
            f"{file}: {counted(found.doubled)} have more than one output, expected one each; remove the others, or "
            "number draws by sample"
        )
    if not found.answers or (found.missing and partial == "refuse"):
        spare = f", and {counted(found.unmatched)} of the file match none of them" if found.unmatched else ""
        raise DataError(
            f"{file}: {counted(found.missing)} of {total} rows have no output{spare}; give a file of all rows, "
            "or import it in a study that asks for its split and rows"
            + (
                ""
                if not found.answers
                else ", or that declares partial: allow under outputs, which leaves them unscored"
            )
        )


def _with_metrics(first: Foreign, again: Foreign) -> Foreign:
    return replace(first, metrics={**first.metrics, **again.metrics})


class _Finder:
    """Looks samples up by id, by index and by their texts."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._by_id = by_id(samples)
        self._by_index = {s.metadata["index"]: s for s in samples if "index" in s.metadata}
        self._texts = {s.id: frozenset(_texts(s.fields)) for s in samples}
        self._with_text: defaultdict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            for text in self._texts[sample.id]:
                self._with_text[text].append(sample)

    def find(self, row: Foreign) -> tuple[Sample, str] | None:
        """Return the sample that a row answers and how that is known; None where it is not."""
        if row.id is not None:
            sample = self._by_id.get(row.id)
            return sample and (sample, BY_ID)
        texts = set(_texts(row.doc or {}))
        pointed = None if row.index is None else self._by_index.get(row.index)
        if pointed and self._texts[pointed.id] and self._texts[pointed.id] <= texts:
            return pointed, BY_BOTH
        near = {s.id: s for text in texts for s in self._with_text.get(text, ()) if self._texts[s.id] <= texts}
        if len(near) == 1:
            return next(iter(near.values())), BY_DOC
        if pointed and row.target is not None and _plain(row.target) in map(_plain, pointed.targets):
            return pointed, BY_TARGET
        return None


def _texts(value: Any) -> Iterable[str]:
    """Yield every text within a value, white space made even."""
    if isinstance(value, str):
        yield _plain(value)
    elif isinstance(value, Mapping):
        for entry in cast(Mapping[Any, Any], value).values():
            yield from _texts(entry)
    elif isinstance(value, list | tuple):
        for entry in cast(Sequence[Any], value):
            yield from _texts(entry)


def _plain(text: str) -> str:
    return " ".join(text.split())
