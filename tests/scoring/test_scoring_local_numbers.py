"""Numbers as German and French write them, and their words for an answer."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunelab.scoring.local_numbers import after_marker, numeric, plain_digits


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("70.000", "70000"),
        ("70 000", "70000"),
        ("70\u202f000 €", "70000 €"),
        ("70,000", "70000"),
        ("1.234.567", "1234567"),
        ("1.234,50", "1234.50"),
        ("1,234.50", "1234.50"),
        ("18,50", "18.50"),
        ("18.50", "18.50"),
        ("0,125", "0.125"),
        ("0.125", "0.125"),
        ("1234,5", "1234.5"),
        ("-3,5", "-3.5"),
        ("3, 4 und 5", "3, 4 und 5"),
        ("2,5, 3,5", "2.5, 3.5"),
        ("sind 12. 300 weitere", "sind 12. 300 weitere"),
        ("am 1.1.2020", "am 1.1.2020"),
    ],
)
def test_numbers_are_written_plainly(written, expected):
    assert plain_digits(written, "fr") == expected


def test_what_groups_digits_depends_on_the_language():
    text = "70 000, 70.000, 70\u202f000, 18,50"
    assert plain_digits(text, "de") == "70 000, 70000, 70000, 18.50"
    assert plain_digits(text, "fr") == "70000, 70000, 70000, 18.50"
    assert plain_digits(text, "en") == text


@pytest.mark.parametrize(
    ("output", "language", "expected"),
    [
        ("Antwort: 18 (siehe Schritt 2)", "de", 18),
        ("Die Antwort ist 70.000 Dollar, nicht 7.", "de", 70000),
        ("Das Ergebnis beträgt 3 + 4 = 7 Eier, Zeile 2", "de", 7),
        ("Réponse : 18,50 $ (étape 2)", "fr", Decimal("18.5")),
        ("La réponse est 1 080. Fin de l'étape 3", "fr", 1080),
        ("The answer is 18. Schritt 2", "de", 18),
        ("#### 540\nSchritt 2", "de", 540),
        ("also 12 Tage", "de", 12),
        ("La réponse est inconnue", "fr", None),
    ],
)
def test_an_answer_is_read_behind_the_words_of_its_language(output, language, expected):
    assert numeric(output, language) == expected


def test_only_words_of_the_language_mark_an_answer():
    assert after_marker("Antwort: 5", "de") == 5
    assert after_marker("Antwort: 5", "fr") is None
    assert after_marker("12 Tage", "de") is None


@given(st.integers(1, 10**12), st.sampled_from(".,'\u00a0\u202f"), st.sampled_from(("de", "fr")))
def test_a_grouped_integer_is_read_whatever_groups_it(number, mark, language):
    assert numeric(f"= {number:,}".replace(",", mark), language) == number


@given(st.integers(0, 10**6), st.integers(0, 99))
def test_a_price_is_read_with_its_decimal_comma(whole, cents):
    assert numeric(f"Antwort: {whole},{cents:02d} €", "de") == Decimal(f"{whole}.{cents:02d}")
