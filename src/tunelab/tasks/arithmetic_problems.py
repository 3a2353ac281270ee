"""Short word problems with one or two steps of arithmetic: the built-in data of the `arithmetic` task.

A story is a sequence of operations together with the sentence that tells it. A problem fills a story with
operands, names and things, so its working and answer are computed and never written down. The sha256 of the
filled calculation ("12+7-4") decides its split: a calculation belongs to train or to test, whatever the words
around it, so no number of problems drawn, from any seed, can leak from one split into the other.

Deliberately absent: fractions, negative results, distractors, and numbers above `LARGEST`.
"""

import hashlib
import random
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "test"]

LARGEST = 99
TEST_SHARE = 0.2
TWO_STEP_SHARE = 0.6

NAMES = (
    *("Ada", "Ben", "Carla", "Dev", "Emma", "Finn", "Grace", "Hugo", "Ines", "Jonas", "Kira", "Leo"),
    *("Mia", "Noor", "Oscar", "Paula", "Quinn", "Rosa", "Sam", "Tara", "Uma", "Viktor", "Wanda", "Yusuf"),
)
THINGS = (
    *("apples", "books", "cards", "coins", "eggs", "flowers", "keys", "lemons", "marbles", "nuts"),
    *("pears", "pencils", "plates", "shells", "stamps", "stickers", "stones", "tickets"),
)
HOLDERS = ("bags", "boxes", "jars", "baskets", "rows")

# The operations in order, and the story. {a}, {b}, {c} are the operands in that order.
ONE_STEP = (
    ("+", "{name} has {a} {things} and finds {b} more. How many {things} does {name} have now?"),
    ("+", "There are {a} {things} on the table. {name} adds {b}. How many are there now?"),
    ("+", "{name} has {a} {things} and {other} has {b}. How many do they have together?"),
    ("-", "{name} has {a} {things} and gives {b} to {other}. How many are left?"),
    ("-", "{name} picks {a} {things} but loses {b}. How many {things} does {name} still have?"),
    ("-", "A shop has {a} {things} and sells {b}. How many {things} remain?"),
    ("*", "{name} buys {a} {holders} with {b} {things} in each. How many {things} is that?"),
    ("*", "There are {a} {holders} of {b} {things}. How many {things} are there?"),
)
TWO_STEP = (
    ("++", "{name} has {a} {things}, finds {b} and buys {c} more. How many {things} does {name} have?"),
    ("++", "{name} has {a} {things}, {other} has {b} and a friend has {c}. How many are there in total?"),
    ("+-", "{name} has {a} {things}, gets {b} more and gives {c} to {other}. How many are left?"),
    ("+-", "A shop has {a} {things}. {b} arrive and {c} are sold. How many {things} remain?"),
    ("-+", "{name} has {a} {things}, loses {b} and then buys {c}. How many {things} does {name} have now?"),
    ("-+", "There are {a} {things}. {name} takes {b} and {other} brings {c}. How many are there now?"),
    ("--", "{name} has {a} {things}, sells {b} and gives {c} to {other}. How many are left?"),
    ("*+", "{name} has {a} {holders} of {b} {things} and {c} more. How many {things} is that?"),
    ("*-", "{name} buys {a} {holders} of {b} {things} and gives away {c}. How many {things} are left?"),
)


@dataclass(frozen=True)
class Problem:
    """`steps` is one equation a line, `answer` the right-hand side of the last one."""

    question: str
    steps: str
    answer: int


def problems(split: Split, n: int, seed: int = 0) -> list[Problem]:
    """`n` problems with different questions, determined by the arguments; a larger `n` only appends."""
    rng = random.Random(f"arithmetic/{split}/{seed}")
    found: dict[str, Problem] = {}
    while len(found) < n:
        operations, story = rng.choice(TWO_STEP if rng.random() < TWO_STEP_SHARE else ONE_STEP)
        operands = _operands(rng, operations)
        if _split(operations, operands) == split:
            problem = _problem(rng, story, operations, operands)
            found.setdefault(problem.question, problem)
    return list(found.values())


def _operands(rng: random.Random, operations: str) -> list[int]:
    """One operand more than there are operations; every value on the way lies in 1..LARGEST."""
    while True:
        operands = [rng.randint(2, 9) if operations[0] == "*" else rng.randint(5, 60)]
        operands += [rng.randint(2, 9 if operation == "*" else 30) for operation in operations]
        if all(1 <= value <= LARGEST for value in _values(operations, operands)):
            return operands


def _values(operations: str, operands: list[int]) -> list[int]:
    """The first operand, then the result of each operation: [12, 19, 15] for "+-" and 12, 7, 4."""
    values = [operands[0]]
    for operation, operand in zip(operations, operands[1:], strict=True):
        values.append(_apply(operation, values[-1], operand))
    return values


def _apply(operation: str, left: int, right: int) -> int:
    if operation == "*":
        return left * right
    return left + right if operation == "+" else left - right


def _split(operations: str, operands: list[int]) -> Split:
    calculation = f"{operands[0]}" + "".join(map("{}{}".format, operations, operands[1:]))
    share = int.from_bytes(hashlib.sha256(calculation.encode()).digest()[:4], "big") / 2**32
    return "test" if share < TEST_SHARE else "train"


def _problem(rng: random.Random, story: str, operations: str, operands: list[int]) -> Problem:
    name, other = rng.sample(NAMES, 2)
    words = {"name": name, "other": other, "things": rng.choice(THINGS), "holders": rng.choice(HOLDERS)}
    question = story.format(**words, **dict(zip("abc", operands, strict=False)))
    values = _values(operations, operands)
    equations = zip(values, operations, operands[1:], values[1:], strict=False)
    steps = "\n".join(f"{left} {operation} {right} = {result}" for left, operation, right, result in equations)
    return Problem(question, steps, values[-1])
