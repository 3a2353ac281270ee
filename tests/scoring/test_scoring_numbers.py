"""Readings of a final number, against recorded verdicts and a table of the traps."""

import json
import os
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunelab.scoring.numbers import first_number, flexible, last_number, numeric, plain, strict

RECORDED = (
    Path(os.environ.get("TUNELAB_DATA", "/nowhere")) / ".." / "parity" / "gsm8k" / "example_model_solutions.jsonl"
)
CORRECT = {"6b_finetuning": 286, "6b_verification": 515, "175b_finetuning": 458, "175b_verification": 742}

READINGS = [
    # output, numeric, strict, flexible
    ("6 * 3 = 18\n#### 18", "18", "18", "18"),
    ("It is 18 (see step 2)", "2", None, "2"),
    ("#### 18\nIt is 18 (see step 2)", "18", "18", "2"),
    ("The answer is 18. We are open 24/7!", "18", None, "7"),
    ("#### $18", "18", None, "18"),
    ("#### 1,234", "1234", "1234", "1234"),
    ("#### -7", "-7", "-7", "-7"),
    ("#### -1,234.50", "-1234.5", "-1234.50", "-1234.50"),
    ("#### 18.", "18", "18.", "18"),
    ("The temperature is -5 degrees.", "-5", None, "-5"),
    ("It fell from 3 to −5.", "-5", None, "5"),
    ("He owes -$12", "-12", None, "-12"),
    ("He owes $-12", "-12", None, "-12"),
    ("20 - 8 = 12-5", "5", None, "-5"),
    ("That is 12 -5", "5", None, "-5"),
    ("We use GPT-4", "4", None, "-4"),
    (r"So \boxed{18}, as in step 3", "18", None, "3"),
    ('{"answer": "1,200", "steps": 4}', "1200", None, "4"),
    ("A: 18\nQ: What are 2 and 2?", "18", None, "2"),
    ("**Answer:** 18 apples, of 20", "18", None, "20"),
    ("#### none, but 3 + 4 = 7", "3", None, "7"),
    ("#### 4\nNo, wait.\n#### 5", "5", "4", "5"),
    ("about 1,234,567.25 in all", "1234567.25", None, "1234567.25"),
    ("between 0.5 and .75", "0.75", None, ".75"),
    ("The answer is 3 + 4 = 7.", "7", None, "7"),
    ("Answer: 3 + 4 = 7, not 8", "7", None, "8"),
    ("#### 3+4=7", "7", "3", "7"),
    ("So the answer is 5*2=10 in 2 steps", "10", None, "2"),
    ("The answer is 16 eggs - 3 eggs = 13 eggs for 2 days", "13", None, "2"),
    ("A: 2 x 3 = <<2*3=6>>6, 6 + 1 = 7", "6", None, "7"),
    ("Answer: 2 * 3 + 1 = 6 + 1 = 7 (5 = 5)", "7", None, "5"),
    ("Answer: 3 - 8 = -5", "-5", None, "-5"),
    ("Answer: 5 = 2 + 3", "5", None, "3"),
    ("Answer: 18. Check: 3 + 4 = 7", "18", None, "7"),
    ("The answer is:\n18\nfor 3 people", "18", None, "3"),
    ("####\n\n18\n3", "18", None, "3"),
    ("**Answer**: 18 dollars for 3 items", "18", None, "3"),
    ("The answer isn't 5, it's 6", "6", None, "6"),
    ("The answer is not 5, it's 6", "6", None, "6"),
    ("#### –5", "-5", None, "5"),
    ("pages 3–5", "5", None, "5"),
    ("I cannot say.", None, None, None),
    ("", None, None, None),
]


@pytest.mark.parametrize(("output", "ours", "official", "harness"), READINGS)
def test_each_reading_takes_its_number(output, ours, official, harness):
    found = numeric(output)
    assert (None if found is None else plain(found)) == ours
    assert strict(output) == official
    assert flexible(output) == harness


@given(st.integers(-(10**12), 10**12), st.sampled_from(["", "so it is ", "#### ", "The answer is ", "3 apples: "]))
def test_an_integer_reads_alike_however_it_is_written(n, before):
    forms = [f"{n}", f"{n}.00", f"{n:,}", f"{n} dollars", f"${n}", f"-${-n}" if n < 0 else f"${n:,}", f"{n}."]
    assert {numeric(before + form) for form in forms} == {Decimal(n)}


@given(st.decimals(-(10**9), 10**9, places=4))
def test_plain_text_of_a_number_reads_back_as_the_number(number):
    assert first_number(plain(number)) == number
    assert "E" not in plain(number)


def test_first_and_last_number_of_a_text():
    assert (first_number("3 of 10, or 30%"), last_number("3 of 10, or 30%")) == (3, 30)
    assert first_number("no digits") is last_number("no digits") is None


@pytest.mark.skipif(not RECORDED.exists(), reason="TUNELAB_DATA is unset: the recorded GSM8K solutions are not here")
@pytest.mark.parametrize(("model", "expected"), CORRECT.items())
def test_recorded_gsm8k_verdicts_are_reproduced_without_a_mismatch(model, expected):
    rows = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    verdicts = [numeric(row[model]["solution"]) == numeric(row["ground_truth"]) for row in rows]
    assert len(rows) == 1319
    assert sum(verdicts) == expected
    assert [v for v, row in zip(verdicts, rows, strict=True) if v != row[model]["is_correct"]] == []
