"""Taking the final number out of a worked answer.

Three readings of one output are kept side by side, because published numbers use different ones: ``strict`` is
the regular expression of openai/grade-school-math, ``flexible`` the flexible-extract filter of
lm-evaluation-harness (gsm8k, version 3), ``numeric`` is ours. Ours prefers an explicit answer marker over the
last number, so that "It is 18 (see step 2)" with "#### 18" is not read as 2, and compares as decimal numbers,
so that 18, 18.00, $18 and "18 dollars" agree. A marker with nothing after it goes on in the next line that has
something, and an equation after a marker is read for its result: "The answer is 3 + 4 = 7" is 7.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")

NUMBER = re.compile(
    r"(?P<sign>[-−–])?(?:[$€£]\s?)?(?P<inner>[-−–])?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?|\.\d+)"
)
TAIL = r"[\s:=*_$\\\[]*(?P<text>[^\n]*)"
MARKERS = (
    re.compile(r"####" + TAIL),
    re.compile(r"\\boxed\s*\{(?P<text>[^{}]*)\}"),
    re.compile(r"\"answer\"\s*:\s*(?P<text>\"[^\"]*\"|[^,}\n]*)", re.IGNORECASE),
    re.compile(r"^[ \t>*_]*A[*_]*\s*:" + TAIL, re.MULTILINE),
    re.compile(r"\banswer[*_]*\s*(?:is\b(?!\s+not\b)|:|=)" + TAIL, re.IGNORECASE),
)

TERM = r"(?:\d[\d,]*(?:\.\d+)?|\.\d+)[)%]*\s*(?:(?!x\b)[^\W\d_]+\s*)?"
BEFORE = r"[-−–($€£\s]*"
MORE_TERMS = rf"[-−–+*/x×·÷]{BEFORE}{TERM}"
EQUATION = re.compile(rf"[^\d.,;]*{TERM}(?:{MORE_TERMS})+=(?P<rest>.*)", re.DOTALL)
SIDE = re.compile(rf"{BEFORE}{TERM}(?:{MORE_TERMS})*=")
ANNOTATION = re.compile(r"<<[^<>]*>>")


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


def numeric(output: str, markers: Sequence[re.Pattern[str]] = MARKERS) -> Decimal | None:
    """Return our reading: the number after the best answer marker that has one, else the last number."""
    found = after_marker(output, markers)
    return last_number(output) if found is None else found


def after_marker(output: str, markers: Sequence[re.Pattern[str]] = MARKERS) -> Decimal | None:
    """Return the number after the best answer marker that has one; None where no answer is marked.

    A marker's group ``text`` is what stands behind it, as in ``TAIL``.
    """
    for marker in markers:
        for match in reversed(list(marker.finditer(output))):
            if (number := marked_number(match.group("text"))) is not None:
                return number
    return None


def marked_number(text: str) -> Decimal | None:
    """Return the result of the equation that ``text`` begins with, else the first number in ``text``."""
    text = ANNOTATION.sub("", text)
    equation = EQUATION.match(text)
    if equation is None:
        return first_number(text)
    result = equation["rest"]
    while side := SIDE.match(result):
        result = result[side.end() :]
    return first_number(result)


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
