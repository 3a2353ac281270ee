"""The answer of a solution in LaTeX: which text it is, and what is taken for none."""

import pytest

from tunelab.scoring.latex.answers import answer_of, boxed, formulas, gold_of, marked

BOXES = {
    "one": (r"So it is $\boxed{4}$.", "4"),
    "the last": (r"It is \boxed{3}... no wait, it is \boxed{4}", "4"),
    "nested braces": (r"\boxed{\frac{1}{\sqrt{2}}} is it", r"\frac{1}{\sqrt{2}}"),
    "escaped braces": (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    "a single escaped brace": (r"\boxed{\left\{ x \right.}", r"\left\{ x \right."),
    "a line break before a brace": (r"\boxed{a \\{b}}", r"a \\{b}"),
    "a box in a box": (r"\boxed{x = \boxed{5}}", "5"),
    "a frame": (r"\fbox{6}", "6"),
    "a frame after a box": (r"\boxed{5} or rather \fbox{6}", "6"),
    "spaces": ("\\boxed {\n 7 }", "7"),
    "no braces": (r"$x = \boxed 5$, as was to be shown", "5"),
    "no braces, at the end": (r"Thus \boxed -2", "-2"),
    "no braces, before a line's end": ("\\boxed 5x\nand more", "5x"),
    "no braces in brackets": (r"\(\boxed \pi\)", r"\pi"),
    "words after a box": (r"I shall put it into a \boxed one at the end", None),
    "an empty box": (r"\boxed{4} goes into \boxed{} or \boxed{ }", "4"),
    "only an empty box": (r"I shall use \boxed{}.", None),
    "an unclosed box": (r"\boxed{\frac{1}{2}", None),
    "an unclosed box after a closed one": (r"\boxed{3}, no: \boxed{\frac{1}{2", "3"),
    "a closed box after an unclosed one": (r"\boxed{\frac{1}{2 and then \boxed{4}", "4"),
    "a brace too many": (r"} \boxed{4} }", "4"),
    "another command": (r"\boxedup{4}", None),
    "several lines": ("\\boxed{1,\n2}", "1,\n2"),
}


@pytest.mark.parametrize("case", BOXES)
def test_the_last_closed_box_that_holds_something_is_the_answer(case):
    text, expected = BOXES[case]
    assert boxed(text) == expected


OUTPUTS = {
    "a box before all else": (r"\boxed{1} The final answer is 2, $x = 3$ or 4.", "1"),
    "a final answer before a formula": ("The final answer is 2. Note $x = 3$.", "2"),
    "a formula before a number": ("We get $x = 3$ in 4 steps.", "x = 3"),
    "a number last": ("We get 3 in 4 steps.", "4"),
    "nothing": ("I do not know.", None),
    "empty": ("", None),
    "the usual last line": (r"The final answer is $\frac{1}{2}$. I hope it is correct.", r"\frac{1}{2}"),
    "the last of several": ("The final answer is 1. No, the final answer is 2.", "2"),
    "a decimal point": ("The final answer is 3.5. I hope it is correct.", "3.5"),
    "a colon and stars": ("**Final Answer:** **7**", "7"),
    "a heading, then a formula": ("# Final answer:\n\n$$x + 1$$\nDone.", "x + 1"),
    "words before the formula": (r"The final answer is therefore \(x^2\) for $x > 0$.", "x^2"),
    "formulas that belong together": ("The final answer is $x = 1$ or $x = 2$ for $a > 0$.", "x = 1, x = 2"),
    "formulas with commas": (r"Final answer: $1$, \(2\), and $3$.", "1, 2, 3"),
    "a word": ("The final answer is blue.\nBye", "blue"),
    "a formula only on a later line": ("The final answer is 4\nbecause $x > 0$", "4"),
    "what it is not": ("The final answer is not 5. It is 6", "6"),
    "an announcement": ("Now the final answer is", None),
    "an unclosed box": (r"so $x$ is 4: \boxed{4", "x"),
    "display formulas": (r"$$1$$ then \[ y = 2 \]", "y = 2"),
    "dollars in a row": ("$$ 5 $$", "5"),
    "round brackets": (r"it is \(z\).", "z"),
    "spaces within": ("it is $ x + 1 $ then", "x + 1"),
    "an escaped dollar": (r"it costs $\$5$ here", r"\$5"),
    "one price": ("It costs $5.", "5"),
    "two prices": ("It costs $5 and then $7 more", "7"),
    "three prices": ("They cost $5, $6 and $7.", "7"),
    "a range of prices": ("from $5-$7", "7"),
    "prices with spaces": ("It costs $ 5 and $ 8", "8"),
    "a price and a formula": ("It costs $5 and $x$ too", "x"),
    "prices on two lines": ("It costs $5\nand 6$ more", "6"),
    "a fraction in words": ("It is 3/4.", "3/4"),
    "a fraction before a number": ("It is 3/4 of 8", "8"),
    "a grouped number": ("about 1,250 trees", "1250"),
    "a negative number": ("it is -3", "-3"),
    "an unclosed formula": (r"it is \( 5", "5"),
    "a number long before the end": ("5 of them " + "and so on " * 100, None),
    "a formula of nothing": ("$$ $$ and 3", "3"),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_an_output_is_read_in_the_order_box_final_answer_formula_number(case):
    text, expected = OUTPUTS[case]
    assert answer_of(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\boxed{3}", True),
        ("The final answer is 3.", True),
        ("The answer is $3$", False),
        ("3", False),
        (r"\boxed{}", False),
    ],
)
def test_a_box_or_a_final_answer_marks_an_answer_and_nothing_else_does(text, expected):
    assert (marked(text) is not None) is expected


@pytest.mark.parametrize(
    ("solution", "expected"),
    [
        ("Some $x$.\nIt is $\\boxed{3}$ of 4.", "3"),
        ("x^2 + 1", "x^2 + 1"),
        (" 4 \n", "4"),
        ("First 3.\nThen 4.", None),
        ("First 3.\nThe final answer is 4.", "4"),
        ("", None),
    ],
)
def test_a_gold_answer_is_boxed_or_is_all_there_is_and_never_guessed_from_several_lines(solution, expected):
    assert gold_of(solution) == expected


def test_formulas_say_where_they_stand():
    text = r"a $x$ and \[y\] b"
    assert [text[found.start : found.end] for found in formulas(text)] == ["$x$", r"\[y\]"]


MEGABYTE = 10**6
LONG = {
    "braces": "{" * MEGABYTE,
    "boxes that are open": r"\boxed{" * (MEGABYTE // 7),
    "boxes in boxes": r"\boxed{" * (MEGABYTE // 8) + "}" * (MEGABYTE // 8),
    "boxes without braces": r"\boxed " * (MEGABYTE // 7),
    "brackets that are open": r"\(x" * (MEGABYTE // 3),
    "dollars": "$ a" * (MEGABYTE // 3),
    "announcements": "final answer" * (MEGABYTE // 12),
    "two formulas far apart": "final answer is $x$" + " " * MEGABYTE + "$y$",
    "negative numbers": "-1 " * (MEGABYTE // 3),
    "grouped numbers": "1" + ",000" * (MEGABYTE // 4) + "0",
    "backslashes": "\\" * MEGABYTE,
    "halves of pairs": "\ud800" * MEGABYTE,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", LONG)
def test_a_megabyte_of_anything_is_read_at_once(kind):
    answer_of(LONG[kind])
