"""Code is found in an answer however a model wraps it, and the prompt is completed once."""

import pytest

from tunelab.scoring.code.answers import code_of, completed, indented

PROMPT = 'import math\n\n\ndef helper(x):\n    return x\n\n\ndef area(r):\n    """Return the area."""\n'
BODY = "    return math.pi * r * r"
WHOLE = f"def area(r):\n{BODY}"
ANSWERS = {
    "the body alone": BODY,
    "the body after a line break": f"\n{BODY}",
    "the body without its indentation": "return math.pi * r * r",
    "the body in a fence": f"```python\n{BODY}\n```",
    "the whole function": WHOLE,
    "the whole function in a fence": f"```python\n{WHOLE}\n```",
    "the whole function between words": f"Sure, here it is:\n\n```py\n{WHOLE}\n```\nIt multiplies.",
    "a fence that was cut off before it closed": f"Here:\n```python\n{WHOLE}",
    "a fence without a language": f"```\n{WHOLE}\n```",
    "a fence that only closes": f"{WHOLE}\n```\nThis is it.",
    "a fence with blanks before it": f"  ```python\n{WHOLE}\n  ```",
    "words and no fence": f"This does it:\n{WHOLE}",
    "an example before the function": f"```\npip install numpy\n```\n```python\n{WHOLE}\n```",
    "the function, then how it is used": f"```python\n{WHOLE}\n```\n```python\nprint(area(2))\n```",
    "the whole prompt again": f"```python\n{PROMPT}{BODY}\n```",
    "the body and what a base model adds": f"{BODY}\n\n\ndef next_one(y):\n    retur",
    "the body and a comment that begins the next task": f"{BODY}\n\n# Task 2\nprint(1 +",
    "annotations of its own": "```python\ndef area(r: float) -> float:\n    return math.pi * r * r\n```",
    "windows line ends": f"```python\r\n{WHOLE}\r\n```".replace("\r\n", "\n"),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_and_its_prompt_are_one_program_with_one_signature(answer):
    program = completed(PROMPT, "area", ANSWERS[answer])
    space = {}
    exec(program, space)
    assert space["area"](2) == pytest.approx(12.566370614)
    assert space["helper"](3) == 3


BODIES = {
    "simple": "    a = 1\n    return a",
    "a block first": "    for x in y:\n        a(x)\n    return a",
    "a block only": "    while True:\n        return 1",
    "blanks between": "    a = 1\n\n    return a",
    "one line": "    return 1",
}


@pytest.mark.parametrize("body", BODIES)
def test_the_indentation_of_a_body_is_restored(body):
    whole = BODIES[body]
    dedented = "\n".join(line[4:] for line in whole.splitlines())
    assert [line.rstrip() for line in indented(dedented).splitlines()] == whole.splitlines()
    assert indented(whole[4:]) == whole
    assert indented(f"\n{whole}\n") == whole


@pytest.mark.parametrize("body", ["  return 1", "\treturn 1"])
def test_an_indentation_of_its_own_is_left_alone(body):
    assert indented(body) == body


def test_no_code_is_empty():
    assert code_of("") == code_of(" \n ") == code_of("```python\n```") == code_of("```") == ""


def test_the_block_that_defines_what_is_asked_for_is_taken():
    blocks = "```\nf(1)\n```\nand\n```python\nclass F:\n    pass\n```"
    assert code_of(blocks, ["F"]) == "class F:\n    pass"
    assert code_of(blocks) == "f(1)"
