"""Taking the final number out of a worked answer.

Three readings of one output are kept side by side, because published numbers use different ones: ``strict`` is
the regular expression of openai/grade-school-math, ``flexible`` the flexible-extract filter of
lm-evaluation-harness (gsm8k, version 3), ``numeric`` is ours. Ours prefers an explicit answer marker over the
last number, so that "It is 18 (see step 2)" with "#### 18" is not read as 2, and compares as decimal numbers,
so that 18, 18.00, $18 and "18 dollars" agree.
"""

from __future__ import annotations

import re
from decimal import Decimal

STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")

NUMBER = re.compile(
    r"(?P<sign>[-−])?(?:[$€£]\s?)?(?P<inner>[-−])?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?|\.\d+)"
)
MARKERS = (
    re.compile(r"####(?P<text>[^\n]*)"),
    re.compile(r"\\boxed\s*\{(?P<text>[^{}]*)\}"),
    re.compile(r"\"answer\"\s*:\s*(?P<text>\"[^\"]*\"|[^,}\n]*)", re.IGNORECASE),
    re.compile(r"^[ \t>*_]*A\s*:(?P<text>[^\n]*)", re.MULTILINE),
    re.compile(r"\b(?:final\s+)?answer\s*(?:is|:|=)(?P<text>[^\n]*)", re.IGNORECASE),
)


def strict(output: str) -> str | None:
    """Return the official reading: the first ``#### number``, commas removed."""
    found = STRICT.search(output)
    return found.group(1).replace(",", "") if found else None


def flexible(output: str) -> str | None:
    """Return the harness' flexible reading: the last number-like run, without ``,``, ``$`` and a final ``.``."""
    found = FLEXIBLE.findall(output)
    if not found:
        return None
    return re.sub(r"[,$]", "", next(group for group in found[-1] if group)).removesuffix(".")


def numeric(output: str) -> Decimal | None:
    """Return our reading: the number after the best answer marker that has one, else the last number."""
    for marker in MARKERS:
        for match in reversed(list(marker.finditer(output))):
            if (number := first_number(match.group("text"))) is not None:
                return number
    return last_number(output)


def first_number(text: str) -> Decimal | None:
    """Return the first number in ``text``."""
    return next(iter(_numbers(text)), None)


def last_number(text: str) -> Decimal | None:
    """Return the last number in ``text``."""
    found = _numbers(text)
    return found[-1] if found else None


def plain(number: Decimal) -> str:
    """Write a number without exponent or trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _numbers(text: str) -> list[Decimal]:
    found: list[Decimal] = []
    for match in NUMBER.finditer(text):
        negative = match["inner"] or (match["sign"] and not _subtracts(text, match.start()))
        found.append(Decimal(("-" if negative else "") + match["digits"].replace(",", "")))
    return found


def _subtracts(text: str, at: int) -> bool:
    """Say whether the minus at ``at`` subtracts, as in ``12-5``, ``12 -5`` or ``x-5``, unlike in ``it is -5``."""
    before = text[:at].rstrip()
    return bool(before) and (before[-1].isdigit() or before[-1] in ")%" or text[at - 1].isalpha())
