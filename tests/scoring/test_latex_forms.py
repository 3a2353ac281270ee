"""Two answers are the same text whatever their layout; what differs as mathematics differs."""

import pytest

from tunelab.scoring.latex.forms import exact, tidied

SAME = {
    "nothing to do": ("x+1", "x+1"),
    "spaces": ("x+1", r" x \, + ~ \quad 1 "),
    "a line break": ("x+1", "x +\n1"),
    "delimiters": (r"\frac{1}{2}", r"\(\frac{1}{2}\)"),
    "dollars around": ("5", "$5$"),
    "a final point": ("5", "5."),
    "stars": ("5", "**5**"),
    "sizes of fractions": (r"\frac{1}{2}", r"\dfrac{1}{2}"),
    "small fractions": (r"\frac{1}{2}", r"\tfrac12"),
    "a fraction of digits": (r"\frac{1}{2}", r"\frac12"),
    "a fraction of letters": (r"\frac{a}{b}", r"\frac a b"),
    "a fraction with one brace": (r"\frac{1}{72}", r"\frac1{72}"),
    "a fraction with the other brace": (r"\frac{\pi}{2}", r"\frac{\pi}2"),
    "a fraction of a command": (r"\frac{\pi}{4}", r"\frac \pi4"),
    "a slash": (r"\frac{3}{4}", "3/4"),
    "a negative slash": (r"-\frac{3}{4}", "-3/4"),
    "a half": ("0.5", r"\frac{1}{2}"),
    "a root": (r"2\sqrt{3}", r"2\sqrt3"),
    "brackets that grow": ("(1,2)", r"\left( 1, 2 \right)"),
    "degrees": ("90", r"90^\circ"),
    "degrees in braces": (r"90^{\circ}", "90°"),
    "percent": (r"15\%", "15"),
    "a bare percent sign": (r"15\%", "15%"),
    "money": (r"\$5", "5"),
    "a leading zero": ("0.25", ".25"),
    "a leading zero within": ("(0.5,1)", "(.5,1)"),
    "thousands": (r"12,\!345", "12345"),
    "thousands with braces": ("12{,}345", "12,345"),
    "millions": ("1,234,567.5", "1234567.5"),
    "a unit on the left": (r"5\text{ cm}", "5"),
    "a unit on the right": ("5", r"5 \mbox{ cm}^2"),
    "the same unit": (r"5\text{ cm}", r"5\,\mathrm{cm}"),
    "a name on the left": ("x = 3", "3"),
    "a name on the right": ("3", "y=3"),
    "a name and a fraction": (r"\frac{1}{2}", "x=1/2"),
    "text": (r"\text{blue}", "blue"),
    "text in two ways": (r"\text{(E)}", r"(\text{E})"),
    "words between": (r"1 \text{ and } 2", "1 and 2"),
}
DIFFERENT = {
    "numbers": ("5", "6"),
    "signs": ("5", "-5"),
    "an interval and a closed one": ("(1,2)", "[1,2]"),
    "an order": ("x+1", "1+x"),
    "two units": (r"5\text{ cm}", r"5\text{ m}"),
    "morning and evening": (r"8\text{ a.m.}", r"8\text{ p.m.}"),
    "two names": ("x=3", "y=3"),
    "a word": (r"\text{even}", r"\text{odd}"),
    "a word and nothing": (r"\text{even}", ""),
    "nothing twice": ("", ""),
    "only signs": (r"\%", r"\$"),
    "a list and a number": ("(1,234)", "(1234)"),
    "a slash within": ("x+1/2", r"x+\frac{1}{3}"),
    "arrows": (r"\leftarrow", r"\arrow"),
    "a decimal": ("1.5", "15"),
    "an equation": ("x=y=3", "3"),
    "an equation of products": ("abc=3", "3"),
}


@pytest.mark.parametrize("case", SAME)
def test_layout_units_and_names_do_not_count(case):
    assert exact(*SAME[case])


@pytest.mark.parametrize("case", DIFFERENT)
def test_what_is_not_layout_counts(case):
    left, right = DIFFERENT[case]
    assert not exact(left, right)
    assert not exact(right, left)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (" $ 90^\\circ$. ", r"90^\circ"),
        (".5", ".5"),
        (r"5\text{ square" + "\nunits}", r"5\text{ square units}"),
        (r"\frac \pi4 + \dfrac12\ ", r"\frac{\pi}{4} + \frac{1}{2}"),
        (r"\frac{12}{5,\!525}", r"\frac{12}{5525}"),
        (r"\left( 15\%, \$2 \right]", r"\left( 15\%, \$2 \right]"),
        (r"\begin{pmatrix} 1 \\[2pt] 2 \end{pmatrix}", r"\begin{pmatrix} 1 \\[2pt] 2 \end{pmatrix}"),
    ],
)
def test_what_is_compared_as_mathematics_keeps_all_but_layout(answer, expected):
    assert tidied(answer) == expected
