"""What mathematics says of two answers, as math-verify has it."""

import pytest

from tunelab.scoring.latex.pool import Pool


@pytest.fixture(scope="module")
def pool():
    with Pool() as found:
        yield found


EQUAL = {
    "a fraction and a decimal": (r"\frac{1}{2}", "0.5"),
    "a fraction and one to be reduced": (r"\frac{1}{2}", r"\frac{3}{6}"),
    "a sum in another order": ("x + y", "y + x"),
    "a product to be expanded": ("(x+1)^2", "x^2 + 2x + 1"),
    "a root to be drawn": (r"\sqrt{8}", r"2\sqrt{2}"),
    "a mixed number": (r"1\frac{1}{2}", r"\frac{3}{2}"),
    "a power": ("2^{10}", "1024"),
    "a complex sum": ("2 + 3i", "3i + 2"),
    "a set in another order": (r"\{1, 2\}", r"\{2, 1\}"),
    "a list in another order": ("1, 2", "2, 1"),
    "a list in words": ("1, 2", r"2 \text{ and } 1"),
    "both signs": (r"3 \pm \sqrt{2}", r"3 + \sqrt{2}, 3 - \sqrt{2}"),
    "a pair and a list": ("(1, 2)", "1, 2"),
    "a percentage and its number": (r"50\%", "50"),
    "a percentage and its share": (r"50\%", "0.5"),
    "degrees": ("90", r"90^\circ"),
    "a name before it": ("3", "x = 3"),
    "a name before the gold one": ("x = 3", "3"),
    "an equation turned": ("y = 2x + 1", "2x - y + 1 = 0"),
    "an inequality turned": ("x < 3", "3 > x"),
    "two matrices": (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{bmatrix} 1 \\ 2 \end{bmatrix}"),
    "a union turned": (r"(-\infty, 1) \cup (2, \infty)", r"(2, \infty) \cup (-\infty, 1)"),
    "six places": (r"\frac{1}{3}", "0.333333"),
    "words": (r"\text{blue}", "Blue"),
}
UNEQUAL = {
    "numbers": ("5", "6"),
    "a close number": ("4", "4.0001"),
    "three places": (r"\frac{1}{3}", "0.333"),
    "an interval and a closed one": ("(1, 2)", "[1, 2]"),
    "a pair turned": ("(1, 2)", "(2, 1)"),
    "a part of a set": (r"\{1, 2\}", r"\{1\}"),
    "more than the set": (r"\{1, 2\}", r"\{1, 2, 3\}"),
    "another name": ("x = 3", "y = 3"),
    "words": (r"\text{even}", r"\text{odd}"),
    "an open alternative": ("5", "3, 5"),
    "a vector and a pair": (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "(1, 2)"),
    "radians and degrees": (r"\frac{\pi}{2}", r"90^\circ"),
}


@pytest.mark.parametrize("case", EQUAL)
def test_answers_that_are_the_same_as_mathematics_are_equal(pool, case):
    assert pool.verdict(*EQUAL[case]) == "equal"


@pytest.mark.parametrize("case", UNEQUAL)
def test_answers_that_differ_as_mathematics_are_different(pool, case):
    assert pool.verdict(*UNEQUAL[case]) == "different"


@pytest.mark.parametrize(
    ("gold", "answer"), [("x < 3", r"(-\infty, 3)"), (r"1 \le x \le 2", "[1, 2]"), ("0", "10x - 4y - 20 = 0")]
)
def test_the_gold_answer_is_asked_first_because_the_other_order_says_otherwise(pool, gold, answer):
    assert (pool.verdict(gold, answer), pool.verdict(answer, gold)) == ("equal", "different")


@pytest.mark.parametrize("answer", ["x^^2", r"\frac{1}{", "", "A.", r"\foo{1}{2}{3}", "5 +* 5 is 5"])
def test_what_the_library_cannot_read_is_no_answer_that_equals_anything(pool, answer):
    assert pool.verdict("5", answer) == "unreadable"
