"""Taking the final number out of a worked answer in German or French: their answer words, and how they write numbers.

Models write 70.000, 70 000 or 70,000 for seventy thousand, and 18,50 or 18.50 for eighteen and a half. So a mark before
exactly three digits groups them, unless the number begins with a 0; any other comma is a decimal one. (A decimal with
just three places is misread: 1,125 is 1125.) What marks an answer in English too, and how equations are read, is
that of ``tunelab.scoring.numbers``.
"""

from __future__ import annotations

import re
from decimal import Decimal

from tunelab.scoring import numbers

WORDS = {
    "de": r"(?:antwort|ergebnis|lösung)",
    "en": "answer",
    "fr": r"(?:réponse|résultat|solution)",
}
"""What an answer is called, by language."""
IS = r"(?:ist|lautet|beträgt|est|vaut|is)\b(?!\s+(?:nicht|not|pas)\b)"
MARKS = {"de": r".,'\u00a0\u202f\u2009", "fr": r".,' \u00a0\u202f\u2009"}
"""What may group digits, by language; in German a plain space separates two numbers. English is read as it stands."""
DECIMAL_COMMA = re.compile(r"(?<![\d.,])(\d+),(\d+)(?!\d|[.,]\d)")


def numeric(output: str, language: str) -> Decimal | None:
    """Return the number after the best answer marker of English or ``language`` that has one, else the last number."""
    return numbers.numeric(plain_digits(output, language), markers(language))


def after_marker(output: str, language: str) -> Decimal | None:
    """Return the number after the best answer marker; None where no answer is marked."""
    return numbers.after_marker(plain_digits(output, language), markers(language))


def markers(language: str) -> tuple[re.Pattern[str], ...]:
    """Return the markers of ``tunelab.scoring.numbers`` and those of a language, best first."""
    local = re.compile(rf"\b{WORDS[language]}[*_]*\s*(?:{IS}|:|=)" + numbers.TAIL, re.IGNORECASE)
    return (*numbers.MARKERS, local)


def plain_digits(text: str, language: str) -> str:
    """Write every number without grouping marks and with a decimal point."""
    if language not in MARKS:
        return text
    grouped = re.compile(
        rf"(?<![\d.,])(?P<whole>[1-9]\d{{0,2}}(?P<mark>[{MARKS[language]}])\d{{3}}(?:(?P=mark)\d{{3}})*)"
        r"(?P<rest>[.,]\d+)?(?!\d)(?![.,]\d)"
    )
    return DECIMAL_COMMA.sub(r"\1.\2", grouped.sub(_ungrouped, text))


def _ungrouped(match: re.Match[str]) -> str:
    rest = match["rest"] or ""
    if rest[:1] == match["mark"]:
        return match[0]
    return re.sub(r"\D", "", match["whole"]) + rest.replace(",", ".")
