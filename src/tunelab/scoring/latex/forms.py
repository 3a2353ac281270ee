r"""The forms in which two answers are compared: what is only layout is taken away.

``tidied`` keeps the mathematics and is what math-verify reads: delimiters, line breaks and a final point are gone, and
fractions and roots have their braces. ``exact`` compares texts as the field does since Hendrycks et al. (2021): of a
tidied answer spaces, sizes, degrees, percent and dollar signs do not count either, and numbers are written in one way.
A unit behind the answer, or the name of what it is ("x =") before it, may stand on one side alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Rules = Sequence[tuple[re.Pattern[str], str]]

LETTERS_END = r"(?![a-zA-Z])"
ONE = rf"\d|[a-zA-Z]|\\[a-zA-Z]+{LETTERS_END}(?!\s*[{{\[])"
"""An argument without braces: a digit, a letter, or a command that takes none."""


def _rules(*pairs: tuple[str, str]) -> Rules:
    return [(re.compile(pattern), replacement) for pattern, replacement in pairs]


TIDY = _rules(
    (r"(?<!\\)\$", ""),
    (r"(?<!\\)\\[()\[\]]", ""),
    (r"(?<!\\)\\ |\s+", " "),
    (r"(?<=\d)(?:,\\!|\{,\})(?=\d{3})", ""),
    (rf"\\[dtc]frac{LETTERS_END}", r"\\frac"),
    (rf"\\frac ?({ONE}) ?({ONE})", r"\\frac{\1}{\2}"),
    (rf"\\frac ?({ONE}) ?(?=\{{)", r"\\frac{\1}"),
    (rf"\\frac ?(\{{[^{{}}]*\}}) ?({ONE})", r"\\frac\1{\2}"),
    (rf"\\sqrt ?({ONE})", r"\\sqrt{\1}"),
)
BARE = _rules(
    (rf"\\(?:left|right){LETTERS_END}", ""),
    (rf"\\(?:mbox|mathrm|textrm|textbf|textit){LETTERS_END}", r"\\text"),
    (r"\^ ?(?:\\circ" + LETTERS_END + r"|\{ ?\\circ ?\})|°|\\degree" + LETTERS_END, ""),
    (r"\\?[%$]", ""),
    (rf"(?<!\\)\\[ ,;:!]|~|\\q?quad{LETTERS_END}| ", ""),
    (r"^\\text\{([^{}]*)\}$", r"\1"),
    (r"\\text\{([^{}]*)\}(?!(?:\^\{?\d\}?)?$)", r"\1"),
)
NUMBERS = _rules(
    (r"(?<![\d.])\.(?=\d)", "0."),
    (r"^(-?\d{1,3}),(\d{3})(?:,(\d{3}))?(?:,(\d{3}))?(?=\.|$)", r"\1\2\3\4"),
    (r"^(-?)(\d+)/(\d+)$", r"\1\\frac{\2}{\3}"),
    (r"^0\.5$", r"\\frac{1}{2}"),
)
SHORT = _rules(
    (r"^\\?[a-zA-Z]{1,2}=(?=[^=]+$)", ""),
    (r"(?<=.)\\text\{[^{}]*\}(?:\^\{?\d\}?)?$", ""),
)
"""What one side may have alone: a name before the answer, a unit behind it."""


def tidied(answer: str) -> str:
    """Return an answer without what is only layout, as mathematics the same."""
    return _applied(TIDY, answer).lstrip(" *").rstrip(" *.")


def exact(gold: str, answer: str) -> bool:
    """Say whether two answers are the same text, but for layout and for a unit or a name on one side."""
    left, right = bare(gold), bare(answer)
    if not left or not right:
        return False
    return left == right or shortened(left) == right or left == shortened(right)


def bare(answer: str) -> str:
    """Return an answer as text, without anything that does not count."""
    return _applied(NUMBERS, _applied(BARE, tidied(answer)))


def shortened(text: str) -> str:
    """Return what ``bare`` gave without a name before the answer and a unit behind it."""
    return _applied(NUMBERS, _applied(SHORT, text))


def _applied(rules: Rules, text: str) -> str:
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text
