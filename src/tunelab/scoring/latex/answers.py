r"""Taking the answer out of a solution in LaTeX.

A gold answer is the last ``\boxed{}`` of its solution. In an output the answer is the last box, else what follows the
last "final answer is", else the last formula, else the last number. A box that is not closed, or empty, is none. Of a
pair of dollars in "$5 and $7" the text between is no formula. Every text is gone through once, whatever it holds.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from tunelab.scoring import numbers

BRACES = re.compile(r"(?P<box>\\(?:boxed|fbox)(?![a-zA-Z])\s*)?\{|(?P<bare>\\(?:boxed|fbox)[ \t]+)|\\.|\}", re.DOTALL)
"""An opening brace with the box that it belongs to, a box without a brace, an escaped character, a closing brace."""
BARE = re.compile(r"[^$\n]{1,100}?(?=\$|\\[)\]]|\n|\Z)")
"""What a box without braces holds: the rest of the formula or line."""
DELIMITERS = re.compile(r"\\[()\[\]]|\$\$?|\\.|\n", re.DOTALL)
CLOSED_BY = {"$": "$", "$$": "$$", r"\(": r"\)", r"\[": r"\]"}
FINAL_ANSWER = re.compile(r"\bfinal answer\b[*_]*\s*(?:is\b(?!\s+not\b)|:)[\s:*_]*", re.IGNORECASE)
ALSO = {",", "and", "or", ", and", ", or"}
"""What joins formulas that are one answer together."""
WORD = re.compile(r"\\text\s*\{[^{}]*\}|\\[a-zA-Z]+|(?P<word>[a-zA-Z]{2,})")
"""Words as prose has them, in a group; the names of commands and what is set as text are none."""
END_OF_SENTENCE = re.compile(r"\.(?:\s|\Z)|\n")
FRACTION = re.compile(r"-?\d+\s?/\s?\d+")
TAIL = 1000
"""Characters at the end of an output in which the last number is looked for."""


@dataclass(frozen=True)
class Formula:
    """A formula and where it stands, its delimiters included."""

    start: int
    end: int
    text: str


def answer_of(output: str) -> str | None:
    """Return the answer that an output gives, None where it gives none."""
    return marked(output) or last_formula(output) or last_number(output)


def marked(output: str) -> str | None:
    """Return the answer that an output marks as one: in a box, or as its final answer."""
    return boxed(output) or final_answer(output)


def gold_of(solution: str) -> str | None:
    """Return the gold answer: the last box, else what is marked; a target of one line may be the answer itself."""
    text = solution.strip()
    return marked(text) or (text if text and "\n" not in text else None)


def boxed(text: str) -> str | None:
    r"""Return what is in the last ``\boxed{}`` or ``\fbox{}`` that is closed and not empty."""
    opened: list[int | None] = []  # of each open brace, where the content of its box begins, if it is a box's
    start = end = -1
    for mark in BRACES.finditer(text):
        if mark["bare"] and (bare := BARE.match(text, mark.end())) and _is_content(bare[0]):
            start, end = bare.span()
        elif mark[0].endswith("{") and mark[0] != r"\{":
            opened.append(mark.end() if mark["box"] else None)
        elif mark[0] == "}" and opened:
            inner = opened.pop()
            if inner is not None and inner > start and text[inner : mark.start()].strip():
                start, end = inner, mark.start()
    return text[start:end].strip() or None


def _is_content(content: str) -> bool:
    """Say whether what follows a box without braces is what it holds, and not the rest of a sentence about boxes."""
    return bool(content.strip(" .")) and not has_words(content)


def has_words(text: str) -> bool:
    """Say whether a text reads as prose and not as a formula."""
    return any(found["word"] for found in WORD.finditer(text))


def final_answer(text: str) -> str | None:
    """Return what follows the last "final answer is": the formulas of that sentence, else its words."""
    markers = list(FINAL_ANSWER.finditer(text))
    if not markers:
        return None
    rest = text[markers[-1].end() :]
    sentence = END_OF_SENTENCE.split(rest, maxsplit=1)[0]
    found = list(formulas(rest))
    if found and found[0].start < len(sentence):
        return _together(rest, found)
    return sentence.strip(" *_") or None


def _together(text: str, found: list[Formula]) -> str:
    """Return the first formula, and those that "and", "or" or a comma joins to it."""
    joined = [found[0]]
    for formula in found[1:]:
        if " ".join(text[joined[-1].end : formula.start].split()) not in ALSO:
            break
        joined.append(formula)
    return ", ".join(formula.text for formula in joined)


def last_formula(text: str) -> str | None:
    """Return the last formula."""
    last = deque(formulas(text), maxlen=1)
    return last[0].text if last else None


def formulas(text: str) -> Iterator[Formula]:
    """Yield the formulas of a text in order: ``$…$``, ``$$…$$`` and the two with backslashes."""
    opened: re.Match[str] | None = None
    for mark in DELIMITERS.finditer(text):
        if opened is not None and mark[0] == CLOSED_BY[opened[0]]:
            content = text[opened.end() : mark.start()]
            if content.strip() and (opened[0] != "$" or _in_dollars(content, text[mark.end() : mark.end() + 1])):
                yield Formula(opened.start(), mark.end(), content.strip())
                opened = None
                continue
        if mark[0] in CLOSED_BY:
            opened = mark
        elif mark[0] == "\n" and opened is not None and opened[0] == "$":
            opened = None


def _in_dollars(content: str, after: str) -> bool:
    """Say whether two dollars enclose a formula and are not two prices."""
    left, right = content[0].isspace(), content[-1].isspace()
    return not after.isdigit() and left == right and not (left and has_words(content))


def last_number(text: str) -> str | None:
    """Return the last number, or fraction of two, at the end of a text."""
    tail = text[-TAIL:]
    number = numbers.last_number(tail)
    fractions = list(FRACTION.finditer(tail))
    if fractions and not any(character.isdigit() for character in tail[fractions[-1].end() :]):
        return fractions[-1][0]
    return None if number is None else numbers.plain(number)
