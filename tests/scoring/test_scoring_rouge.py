"""ROUGE: the arithmetic by hand, and what a sentence is."""

import pytest

from tunelab.scoring.rouge import TYPES, rouge, sentences


def test_f_measure_of_stemmed_tokens_by_hand():
    found = rouge("The ferries sailed", "ferry sails on Monday")
    assert found["rouge1"] == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    assert found["rouge2"] == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))


def test_lsum_takes_sentences_one_by_one_and_l_the_whole_text():
    found = rouge("Wolves return. Shepherds are paid.", "Shepherds are paid .\nWolves return .")
    assert found["rougeLsum"] == 1
    assert found["rougeL"] == pytest.approx(3 / 5)


def test_a_text_scores_one_against_itself_and_words_in_common_with_none_zero():
    assert rouge("A. B.\nC", "A. B.\nC") == dict.fromkeys(TYPES, 1.0) | {"rouge2": 1.0}
    assert rouge("zxqv blorp", "the ferry") == dict.fromkeys(TYPES, 0.0)
    assert rouge("", "the ferry") == dict.fromkeys(TYPES, 0.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? four", ["One.", "Two!", "Three? four"]),
        ("It rose 3.5 points. In 1990 it fell.", ["It rose 3.5 points.", "In 1990 it fell."]),
        ('He said "No." She left.', ['He said "No.', "She left."]),
        ("a .\n\nb .\n", ["a .", "b ."]),
        ("He ran. “Stop,” she said.", ["He ran.", "“Stop,” she said."]),
        ("", []),
    ],
)
def test_sentences_end_as_the_definition_says(text, expected):
    assert sentences(text) == expected
