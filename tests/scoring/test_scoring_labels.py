"""Reading a label out of any text, and F1 of a class against counting pairs by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunelab.scoring.labels import class_counts, f1, judged_label, read_label
from tunelab.scoring.score import Outcome

SENTIMENT = ("negative", "positive")
ANSWERS = ("no", "yes")


@pytest.mark.parametrize(
    ("output", "labels", "expected"),
    [
        ("positive", SENTIMENT, "positive"),
        (" Positive.\n", SENTIMENT, "positive"),
        ("**Negative**: it is hardly positive", SENTIMENT, "negative"),
        ("This is not negative but positive", SENTIMENT, "positive"),
        ("positively charming", SENTIMENT, None),
        ("non-negative", SENTIMENT, None),
        ("it is good", SENTIMENT, None),
        ("", SENTIMENT, None),
        ("No, yes would be wrong", ANSWERS, "no"),
        ("nothing to note", ANSWERS, None),
        ("Answer: YES", ANSWERS, "yes"),
        ("not good: good", ("good", "not good"), "not good"),
    ],
)
def test_a_label_is_read_as_a_reader_would(output, labels, expected):
    assert read_label(output, labels) == expected


@given(st.sampled_from(SENTIMENT), st.text(alphabet=" ,.!abcdef\n", max_size=20))
def test_what_an_output_begins_with_is_its_answer(label, rest):
    assert read_label(f"{label}. {rest} negative positive", SENTIMENT) == label


def test_an_output_without_a_label_is_no_answer_and_not_wrong():
    outcomes = [judged_label(text, SENTIMENT, ("positive",)).outcome for text in ("positive", "negative", "hm")]
    assert outcomes == [Outcome.CORRECT, Outcome.WRONG, Outcome.NO_ANSWER]


@given(st.lists(st.tuples(st.sampled_from(ANSWERS), st.sampled_from([*ANSWERS, None])), max_size=30))
def test_f1_of_the_summed_counts_is_the_harmonic_mean_of_precision_and_recall(pairs):
    parts = [class_counts(said, (gold,), "yes") for gold, said in pairs]
    both = sum(gold == said == "yes" for gold, said in pairs)
    said = sum(said == "yes" for _, said in pairs)
    gold = sum(gold == "yes" for gold, _ in pairs)
    precision, recall = both / said if said else 0, both / gold if gold else 0
    expected = 2 * precision * recall / (precision + recall) if both else 0
    assert f1(np.sum([(0, 0, 0), *parts], axis=0)) == pytest.approx(expected)
