"""Texts of models and people as data: escaped for Markdown and LaTeX, and kept from being formulas of a spreadsheet."""

from __future__ import annotations

import re

TAG = re.compile(r"<(?=[A-Za-z/!?])")
EMPHASIS = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
MARKUP = re.compile(r"[|`*\\~$]")
ADDRESS = re.compile(r"(?<=[A-Za-z]):(?=//)|(?<=\bwww)\.")
MINUS = re.compile(r"(?<![\w-])-(?=\d)")
LIGATURE = re.compile("-(?=-)|'(?=')")
NUMBER = re.compile(r"[+-](?:\d|\.\d|inf\b|nan\b)")

LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "`": r"\textasciigrave{}", '"': r"{\char34}",
    "—": "---", "–": "--", "…": r"\ldots{}", "“": "``", "”": "''", "‘": "`", "’": "'",
    "−": "$-$", "×": r"$\times$", "·": r"$\cdot$", "≥": r"$\geq$", "≤": r"$\leq$", "≠": r"$\neq$",
    "→": r"$\rightarrow$",
    "Δ": r"$\Delta$", "α": r"$\alpha$", "κ": r"$\kappa$",
    "▲": r"$\uparrow$", "▼": r"$\downarrow$", "✓": r"$\surd$", "✗": r"$\times$", "○": r"$\circ$",
}  # fmt: skip
"""Characters to what writes them in LaTeX with no package but booktabs; the rest is for an engine that reads UTF-8."""


def markdown(text: str) -> str:
    """Keep text from ending a table's cell, and from becoming markup, a link, HTML or mathematics."""
    one_line = " ".join(text.split()).replace("&", "&amp;")
    one_line = MARKUP.sub(r"\\\g<0>", TAG.sub("&lt;", one_line))
    one_line = EMPHASIS.sub(r"\\_", ADDRESS.sub(r"\\\g<0>", one_line))
    return one_line.replace("](", "]\\(").replace("][", "]\\[")


def latex(text: str) -> str:
    """Write text for LaTeX's text mode, on one line: a minus before numbers, no ligatures of dashes and quotes."""
    one_line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    one_line = MINUS.sub("−", one_line)
    return "".join(LATEX.get(c, c) for c in LIGATURE.sub(r"\g<0>\0", one_line)).replace("\0", "{}")


def no_formula(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would compute; signed numbers stay as they are."""
    return f"'{text}" if text[:1] in "=@\t\r+-" and text and not NUMBER.match(text) else text
