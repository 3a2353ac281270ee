"""Supervised rows: what is learnt, what is left out, and what is refused."""

import re

import pytest

from tunelab.errors import DataError
from tunelab.formats.renderer import Example
from tunelab.tasks.find import find_task
from tunelab.training.rows import IGNORED, labels, supervised_rows


class Mute:
    """Renders every sample without a supervised token, as a template without generation markers would."""

    def example(self, messages, target):
        return Example("x", [1, 2, 3], [0, 0, 0])


def test_completion_labels_are_the_answer_and_its_end_and_nothing_else(bench):
    tokenizer = bench.renderer.tokenizer
    for row, sample in zip(bench.rows("completion").rows, bench.samples, strict=True):
        learnt = [label for label in row["labels"] if label != IGNORED]
        assert tokenizer.decode(learnt) == sample.targets[0] + "<|im_end|>"
        assert row["labels"] == [IGNORED] * (len(row["input_ids"]) - len(learnt)) + row["input_ids"][-len(learnt) :]


def test_all_labels_are_the_ids(bench):
    assert all(row["labels"] == row["input_ids"] for row in bench.rows("all").rows)


def test_the_receipt_counts_what_went_in(bench):
    found = bench.rows("completion")
    assert found.receipt == {
        "rows": 24,
        "too_long": 0,
        "tokens": sum(len(row["input_ids"]) for row in found.rows),
        "supervised_tokens": sum(label != IGNORED for row in found.rows for label in row["labels"]),
        "longest": max(len(row["input_ids"]) for row in found.rows),
    }


def test_the_preview_shows_what_is_learnt_in_brackets(bench):
    text = bench.rows("completion").preview
    assert re.findall("⟦(.*?)⟧", text, re.DOTALL) == [bench.samples[0].targets[0] + "<|im_end|>"]
    assert text.replace("⟦", "").replace("⟧", "") == bench.rows("all").preview.strip("⟦⟧")


def test_too_long_rows_are_left_out_whole_and_counted(bench):
    lengths = sorted(len(row["input_ids"]) for row in bench.rows().rows)
    limit = lengths[-3] - 1
    found = bench.rows(max_length=limit, max_too_long=1.0)
    assert sorted(len(row["input_ids"]) for row in found.rows) == [n for n in lengths if n <= limit]
    assert found.receipt["too_long"] == sum(n > limit for n in lengths)
    assert all(row["input_ids"][-1] == bench.renderer.end_of_turn[1] for row in found.rows)


def test_too_many_long_rows_are_refused_with_the_length_that_fits(bench):
    longest = bench.rows().receipt["longest"]
    with pytest.raises(DataError, match=rf"set max_length to {longest} to keep all") as raised:
        bench.rows(max_length=longest - 1)
    assert "of 24 are longer than max_length" in str(raised.value)
    assert bench.rows(max_length=longest).receipt["too_long"] == 0


def test_rows_that_are_all_too_long_are_refused_whatever_is_allowed(bench):
    with pytest.raises(DataError, match="24 of 24 are longer"):
        bench.rows(max_length=3, max_too_long=1.0)


def test_a_row_that_teaches_nothing_is_refused(bench):
    with pytest.raises(DataError, match="a row has no supervised token"):
        supervised_rows(bench.samples, find_task("arithmetic"), Mute(), "completion", 512, 0.0)
    assert labels(Example("x", [1, 2, 3], [0, 0, 0]), "all") == [1, 2, 3]
